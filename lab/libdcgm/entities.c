/* What there is: GPUs, their instances, links and health. */
#include <stdio.h>
#include <string.h>

#include "library.h"

#define NO_COMPUTE 0xffffffffu

enum { HEALTHY = 0, ALL_SYSTEMS = -1, LINK_UP = 3, PATH_BY_NVLINK = 0x1000000, ALL_LINKS = 0x3ffff };

/* Entities of instances are counted through all GPUs: a GPU has eight numbers. */
static unsigned int compute_id(const struct board *board, int place) {
    return (unsigned int)(board->index * MAX_INSTANCES + place);
}

static unsigned int instance_id(const struct board *board, int place) {
    int before = 0;
    for (int i = 0; i < board->instances && board->mig[i].gi != board->mig[place].gi; i++)
        before += board_opens_instance(board, i);
    return compute_id(board, before);
}

static int instance_place(struct entity entity, struct place *into) {
    const struct board *board = machine_board(&here, entity.id / MAX_INSTANCES);
    for (int i = 0; board && i < board->instances; i++) {
        unsigned int id = entity.kind == GPU_INSTANCE ? instance_id(board, i) : compute_id(board, i);
        if (id != entity.id) continue;
        *into = (struct place){board, &board->mig[i]};
        return 1;
    }
    return 0;
}

int entity_place(struct entity entity, struct place *into) {
    *into = (struct place){NULL, NULL};
    if (entity.kind == NOTHING) return 1;
    if (entity.kind == GPU_INSTANCE || entity.kind == COMPUTE_INSTANCE) return instance_place(entity, into);
    /* A link's number has the kind of its owner in the lowest byte and the owner's number in the highest. */
    if (entity.kind == LINK && (entity.id & 0xff) == GPU) into->board = machine_board(&here, entity.id >> 24);
    if (entity.kind == GPU) into->board = machine_board(&here, entity.id);
    return into->board != NULL;
}

API int dcgmGetAllDevices(handle engine, unsigned int *ids, int *count) {
    ENTER(engine);
    for (int i = 0; i < here.boards; i++) ids[i] = (unsigned int)here.board[i].index;
    *count = here.boards;
    return OK;
}

API int dcgmGetAllSupportedDevices(handle engine, unsigned int *ids, int *count) {
    return dcgmGetAllDevices(engine, ids, count);
}

API int dcgmGetEntityGroupEntities(handle engine, int kind, unsigned int *ids, int *count, unsigned int flags) {
    (void)flags;
    ENTER(engine);
    int found = 0, room = *count;
    for (int i = 0; i < here.boards; i++) {
        const struct board *board = &here.board[i];
        if (kind == GPU && found < room) ids[found++] = (unsigned int)board->index;
        for (int j = 0; kind == GPU_INSTANCE && j < board->instances; j++)
            if (board_opens_instance(board, j) && found < room) ids[found++] = instance_id(board, j);
    }
    *count = found;
    return OK;
}

API int dcgmGetGpuStatus(handle engine, unsigned int id, int *status) {
    ENTER(engine);
    *status = machine_board(&here, id) != NULL;
    return OK;
}

static void identify(const struct board *board, struct identifiers *into) {
    snprintf(into->brand, TEXT, "Tesla");
    snprintf(into->name, TEXT, "%s", board->model);
    snprintf(into->bus, TEXT, "%s", board->bus);
    snprintf(into->serial, TEXT, "%s", board->serial);
    snprintf(into->uuid, TEXT, "%s", board->uuid);
    snprintf(into->vbios, TEXT, "96.00.74.00.01");
    snprintf(into->inforom, TEXT, "G520.0200.00.05");
    snprintf(into->driver, TEXT, "%s", here.driver);
}

API int dcgmGetDeviceAttributes(handle engine, unsigned int id, struct attributes_v3 *into) {
    ENTER(engine);
    NEED_VERSION(into, 3);
    const struct board *board = machine_board(&here, id);
    if (!board) return BAD_PARAM;
    *into = (struct attributes_v3){
        .version = into->version,
        .thermals = {.slowdown = 87, .shutdown = 92},
        .power = {.current = 700, .standard = 700, .enforced = 700, .least = 200, .most = 700},
        .memory = {.bar1 = 131072, .total = 81559, .used = 500, .free = 80500},
        .settings = {.mig = board->instances > 0},
    };
    identify(board, &into->identifiers);
    return OK;
}

API int dcgmGetDeviceTopology(handle engine, unsigned int id, struct topology_v1 *into) {
    ENTER(engine);
    NEED_VERSION(into, 1);
    if (!machine_board(&here, id)) return BAD_PARAM;
    into->affinity[0] = 65535;
    into->gpus = 0;
    for (int i = 0; i < here.boards; i++) {
        unsigned int other = (unsigned int)here.board[i].index;
        if (other != id) into->path[into->gpus++] = (struct path){other, PATH_BY_NVLINK, ALL_LINKS};
    }
    return OK;
}

API int dcgmGetNvLinkLinkStatus(handle engine, struct links_v4 *into) {
    ENTER(engine);
    NEED_VERSION(into, 4);
    into->gpus = (unsigned int)here.boards;
    into->switches = 0;
    for (int i = 0; i < here.boards; i++) {
        into->gpu[i].id = (unsigned int)here.board[i].index;
        for (int j = 0; j < GPU_LINKS; j++) into->gpu[i].state[j] = LINK_UP;
    }
    return OK;
}

API int dcgmGetNvLinkP2PStatus(handle engine, struct p2p_v1 *into) {
    ENTER(engine);
    NEED_VERSION(into, 1);
    into->gpus = (unsigned int)here.boards;
    for (int i = 0; i < here.boards; i++) into->gpu[i] = (struct peers){.id = (unsigned int)here.board[i].index};
    return OK;
}

/* Each GPU instance comes before its compute instances: the exporter relies on that order. */
API int dcgmGetGpuInstanceHierarchy(handle engine, struct mig_hierarchy_v2 *into) {
    ENTER(engine);
    NEED_VERSION(into, 2);
    into->count = 0;
    for (int i = 0; i < here.boards; i++) {
        const struct board *board = &here.board[i];
        struct entity gpu = {GPU, (unsigned int)board->index};
        for (int j = 0; j < board->instances; j++) {
            struct entity instance = {GPU_INSTANCE, instance_id(board, j)};
            struct entity compute = {COMPUTE_INSTANCE, compute_id(board, j)};
            struct mig_info info = {.gpu = gpu.id, .instance = (unsigned int)board->mig[j].gi, .slices = 1};
            info.compute = NO_COMPUTE;
            snprintf(info.uuid, sizeof info.uuid, "%s", board->uuid);
            if (board_opens_instance(board, j)) into->entry[into->count++] = (struct mig_entry){instance, gpu, info};
            info.compute = (unsigned int)board->mig[j].ci;
            into->entry[into->count++] = (struct mig_entry){compute, instance, info};
        }
    }
    return OK;
}

/* As on x86, where DCGM has no module for CPUs. */
API int dcgmGetCpuHierarchy(handle engine, void *into) {
    (void)into;
    ENTER(engine);
    return MODULE_NOT_LOADED;
}

API int dcgmProfGetSupportedMetricGroups(handle engine, struct profiling_groups_v3 *into) {
    static const struct profiling_group GROUPS[] = {
        {0, 0, 7, {1001, 1002, 1003, 1004, 1006, 1007, 1008}},
        {1, 0, 1, {1005}},
        {2, 0, 4, {1009, 1010, 1011, 1012}},
    };
    ENTER(engine);
    NEED_VERSION(into, 3);
    if (!machine_board(&here, into->gpu)) return BAD_PARAM;
    if (!here.has_profiling) return PROFILING_NOT_SUPPORTED;
    into->count = sizeof GROUPS / sizeof *GROUPS;
    memcpy(into->group, GROUPS, sizeof GROUPS);
    return OK;
}

API int dcgmHealthSet(handle engine, uintptr_t group, unsigned int systems) {
    (void)group;
    (void)systems;
    ENTER(engine);
    return OK;
}

API int dcgmHealthGet(handle engine, uintptr_t group, int *systems) {
    (void)group;
    ENTER(engine);
    *systems = ALL_SYSTEMS;
    return OK;
}

API int dcgmHealthCheck(handle engine, uintptr_t group, struct health_v5 *into) {
    (void)group;
    ENTER(engine);
    NEED_VERSION(into, 5);
    into->overall = HEALTHY;
    into->incidents = 0;
    return OK;
}
