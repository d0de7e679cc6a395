#include <math.h>
#include <stdio.h>
#include <string.h>

#include "library.h"

/* How a field moves: between low and high, or up by rate in a second, as in the lab's fields.json. A field that is only
 * known of `whole` GPUs is blank where the GPU is divided (NVIDIA/dcgm-exporter#50, #105, #216, #430). */
struct row { unsigned short id; char type; int level; double low, high, rate; int whole; };

static const struct row ROWS[] = {
    {1, STRING, NOTHING, 0, 0, 0, 0},              /* driver version */
    {2, STRING, NOTHING, 0, 0, 0, 0},              /* NVML version */
    {50, STRING, GPU, 0, 0, 0, 0},                 /* name */
    {51, STRING, GPU, 0, 0, 0, 0},                 /* brand */
    {53, STRING, GPU, 0, 0, 0, 0},                 /* serial number */
    {54, STRING, GPU, 0, 0, 0, 0},                 /* UUID */
    {57, STRING, GPU, 0, 0, 0, 0},                 /* PCI bus */
    {70, INTEGER, GPU, 65535, 65535, 0, 0},        /* CPU affinity */
    {85, STRING, GPU, 0, 0, 0, 0},                 /* VBIOS version */
    {100, INTEGER, GPU, 345, 1980, 0, 0},          /* SM clock */
    {101, INTEGER, GPU, 2619, 2619, 0, 0},         /* memory clock */
    {140, INTEGER, GPU, 42, 78, 0, 0},             /* memory temperature */
    {150, INTEGER, GPU, 34, 69, 0, 0},             /* GPU temperature */
    {151, INTEGER, GPU, 95, 95, 0, 0},             /* highest temperature of the memory's operation */
    {152, INTEGER, GPU, 87, 87, 0, 0},             /* highest temperature of the GPU's operation */
    {153, INTEGER, GPU, 53, 18, 0, 0},             /* temperature left until the GPU slows down */
    {155, DOUBLE, GPU, 72, 690, 0, 0},             /* power */
    {156, INTEGER, GPU, 0, 0, 381000, 0},          /* energy */
    {157, DOUBLE, GPU, 72, 690, 0, 0},             /* power at this moment */
    {158, INTEGER, GPU, 89, 89, 0, 0},             /* slowdown temperature */
    {159, INTEGER, GPU, 92, 92, 0, 0},             /* shutdown temperature */
    {160, DOUBLE, GPU, 700, 700, 0, 0},            /* power limit that was set */
    {164, DOUBLE, GPU, 700, 700, 0, 0},            /* power limit that is enforced */
    {203, INTEGER, GPU, 1, 100, 0, 1},             /* GPU utilisation */
    {204, INTEGER, GPU, 0, 64, 0, 1},              /* memory copy utilisation */
    {206, INTEGER, GPU, 0, 0, 0, 1},               /* encoder utilisation */
    {207, INTEGER, GPU, 0, 0, 0, 1},               /* decoder utilisation */
    {235, INTEGER, GPU, 5, 5, 0, 0},               /* PCIe generation */
    {236, INTEGER, GPU, 16, 16, 0, 0},             /* PCIe width */
    {250, INTEGER, GPU_INSTANCE, 81559, 81559, 0, 0},  /* memory */
    {251, INTEGER, GPU_INSTANCE, 80500, 6500, 0, 0},   /* memory free */
    {252, INTEGER, GPU_INSTANCE, 500, 74500, 0, 0},    /* memory used */
    {253, INTEGER, GPU_INSTANCE, 559, 559, 0, 0},      /* memory reserved */
    {449, INTEGER, GPU, 0, 0, 2400, 0},            /* NVLink bandwidth */
    {1001, DOUBLE, COMPUTE_INSTANCE, 0.01, 0.99, 0, 0}, /* graphics engine active */
    {1002, DOUBLE, COMPUTE_INSTANCE, 0, 0.9, 0, 0},    /* SM active */
    {1003, DOUBLE, COMPUTE_INSTANCE, 0, 0.5, 0, 0},    /* SM occupancy */
    {1004, DOUBLE, COMPUTE_INSTANCE, 0, 0.62, 0, 0},   /* tensor active */
    {1005, DOUBLE, GPU_INSTANCE, 0, 0.55, 0, 0},       /* DRAM active */
    {1006, DOUBLE, COMPUTE_INSTANCE, 0, 0.1, 0, 0},    /* FP64 active */
    {1007, DOUBLE, COMPUTE_INSTANCE, 0, 0.3, 0, 0},    /* FP32 active */
    {1008, DOUBLE, COMPUTE_INSTANCE, 0, 0.3, 0, 0},    /* FP16 active */
    {1009, INTEGER, GPU, 120000, 2400000000.0, 0, 0},  /* PCIe sent */
    {1010, INTEGER, GPU, 150000, 3100000000.0, 0, 0},  /* PCIe received */
    {1011, INTEGER, GPU, 0, 1000000000.0, 0, 0},       /* NVLink sent */
    {1012, INTEGER, GPU, 0, 1000000000.0, 0, 0},       /* NVLink received */
};
enum { ROW_COUNT = sizeof ROWS / sizeof *ROWS, FIELDS_END = 1613 };

/* A field without a row is an integer that is always 0, at the level that its range of numbers has. */
static struct row row_of(unsigned short id) {
    for (int i = 0; i < ROW_COUNT; i++)
        if (ROWS[i].id == id) return ROWS[i];
    struct row other = {.id = id, .type = INTEGER, .level = GPU};
    if (id >= 500 && id < 526) other.level = VGPU;
    if (id >= 700 && id < 900) other.level = SWITCH;
    if (id > 1000 && id < 1100) other.level = COMPUTE_INSTANCE;
    if (id >= 1100 && id < 1200) other.level = CPU;
    return other;
}

/* The caller keeps the pointer, as with the true library. */
API const struct field *DcgmFieldGetById(unsigned short id) {
    static struct field known[FIELDS_END];
    if (!id || id >= FIELDS_END) return NULL;
    struct row row = row_of(id);
    struct field *found = &known[id];
    found->type = row.type;
    found->size = row.type == STRING ? 0 : sizeof(int64_t);
    found->level = row.level;
    found->scope = row.level != NOTHING;
    snprintf(found->tag, sizeof found->tag, "field_%u", id);
    found->id = id;
    return found;
}

API int DcgmFieldsInit(void) { return OK; }
API int DcgmFieldsTerm(void) { return OK; }

void field_blank(char type, union value *into) {
    memset(into, 0, sizeof *into);
    if (type == STRING) strcpy(into->text, BLANK_STRING);
    else if (type == DOUBLE) into->number = BLANK_DOUBLE;
    else into->integer = BLANK_INTEGER;
}

static const char *words(unsigned short id, const struct machine *machine, struct place place) {
    const struct board *board = place.board;
    if (id == 1) return machine->driver;
    if (id == 2) return "12.550.54.15";
    if (!board) return BLANK_STRING;
    if (id == 50) return place.instance ? place.instance->profile : board->model;
    if (id == 51) return "Tesla";
    if (id == 53) return board->serial;
    if (id == 54) return board->uuid;
    if (id == 57) return board->bus;
    return id == 85 ? "96.00.74.00.01" : BLANK_STRING;
}

void field_value(const struct field *field, const struct machine *machine, struct place place, int64_t when,
                 union value *into) {
    struct row row = row_of(field->id);
    field_blank(row.type, into);
    if (row.type == STRING) {
        snprintf(into->text, sizeof into->text, "%s", words(row.id, machine, place));
        return;
    }
    if (!place.board || (row.whole && place.board->instances)) return;
    double seconds = (double)when / 1e6;
    double phase = place.board->index + 0.3 * (place.instance ? place.instance->gi : 0);
    double value = row.low + (row.high - row.low) * (0.5 + 0.5 * sin(seconds / 17 + phase));
    if (row.rate != 0) value = row.rate * (seconds - 1.75e9);
    if (row.type == DOUBLE) into->number = value;
    else into->integer = (int64_t)floor(value);
}
