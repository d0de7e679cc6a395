#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

#ifndef DCGM_VERSION
#error "DCGM_VERSION is the version that the library is installed as"
#endif

/* The text of a file that the environment or its usual path names; empty where there is none. */
static const char *read_file(const char *variable, const char *usual) {
    static char text[1 << 17];
    const char *path = getenv(variable);
    FILE *file = fopen(path ? path : usual, "r");
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[length] = 0;
    return text;
}

static void read_board(const char *gpu, struct board *into) {
    const char *list = json_member(gpu, "mig"), *device;
    into->index = json_number(json_member(gpu, "index"));
    json_text(json_member(gpu, "uuid"), into->uuid, WORD);
    json_text(json_member(gpu, "bus"), into->bus, WORD);
    json_text(json_member(gpu, "model"), into->model, WORD);
    json_text(json_member(gpu, "serial"), into->serial, WORD);
    for (; into->instances < MAX_INSTANCES && (device = json_element(list, into->instances)); into->instances++) {
        struct instance *instance = &into->mig[into->instances];
        json_text(json_member(device, "profile"), instance->profile, WORD);
        instance->gi = json_number(json_member(device, "gi"));
        instance->ci = json_number(json_member(device, "ci"));
    }
}

void machine_read(struct machine *into) {
    const char *gpu, *text = read_file("LAB_DCGM", "/etc/lab/dcgm.json");
    memset(into, 0, sizeof *into);
    json_text(json_member(text, "version"), into->version, WORD);
    if (!into->version[0]) snprintf(into->version, WORD, "%s", DCGM_VERSION);
    into->has_profiling = !json_is_false(json_member(text, "profiling"));
    text = read_file("LAB_GPUS", "/etc/lab/gpus.json");
    into->has_driver = *text == '{';
    json_text(json_member(text, "driver"), into->driver, WORD);
    const char *list = json_member(text, "gpus");
    for (; into->boards < MAX_BOARDS && (gpu = json_element(list, into->boards)); into->boards++)
        read_board(gpu, &into->board[into->boards]);
}

const struct board *machine_board(const struct machine *machine, unsigned int index) {
    for (int i = 0; i < machine->boards; i++)
        if (machine->board[i].index == (int)index) return &machine->board[i];
    return NULL;
}

int board_opens_instance(const struct board *board, int place) {
    for (int i = 0; i < place; i++)
        if (board->mig[i].gi == board->mig[place].gi) return 0;
    return 1;
}
