/* Groups of entities, groups of fields, and what is watched of them. An id is a place in its table, counted from 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "library.h"

enum { MAX_GROUPS = 512, MAX_FIELDS = 128, MAX_WATCHES = 1024, ALL_GPUS = 0x7fffffff, LIVE = 1 };

struct group { int used, count; char name[TEXT]; struct entity entity[MAX_ENTITIES]; };
struct field_group { int used, count; unsigned short field[MAX_FIELDS]; };
struct watch { int used; uintptr_t group, fields; int64_t since, every; };

static struct group groups[MAX_GROUPS];
static struct field_group field_groups[MAX_GROUPS];
static struct watch watches[MAX_WATCHES];

void watches_clear(void) {
    memset(groups, 0, sizeof groups);
    memset(field_groups, 0, sizeof field_groups);
    memset(watches, 0, sizeof watches);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static struct group *group_of(uintptr_t id) {
    return id >= 1 && id <= MAX_GROUPS && groups[id - 1].used ? &groups[id - 1] : NULL;
}

static struct field_group *fields_of(uintptr_t id) {
    return id >= 1 && id <= MAX_GROUPS && field_groups[id - 1].used ? &field_groups[id - 1] : NULL;
}

/* Makes a group, which with type 0 has all GPUs. */
API int dcgmGroupCreate(handle engine, int type, const char *name, uintptr_t *id) {
    ENTER(engine);
    struct group *group = groups;
    while (group < groups + MAX_GROUPS && group->used) group++;
    if (group == groups + MAX_GROUPS) return MAX_LIMIT;
    group->used = 1;
    group->count = type == 0 ? here.boards : 0;
    for (int i = 0; i < group->count; i++) group->entity[i] = (struct entity){GPU, (unsigned int)here.board[i].index};
    snprintf(group->name, TEXT, "%s", name);
    *id = (uintptr_t)(group - groups) + 1;
    return OK;
}

API int dcgmGroupDestroy(handle engine, uintptr_t id) {
    ENTER(engine);
    struct group *group = group_of(id);
    if (!group) return NOT_CONFIGURED;
    group->used = 0;
    for (int i = 0; i < MAX_WATCHES; i++)
        if (watches[i].group == id) watches[i].used = 0;
    return OK;
}

API int dcgmGroupAddEntity(handle engine, uintptr_t id, int kind, unsigned int number) {
    struct entity entity = {kind, number};
    struct place place;
    ENTER(engine);
    struct group *group = group_of(id);
    if (!group) return NOT_CONFIGURED;
    if (!entity_place(entity, &place)) return BAD_PARAM;
    if (group->count == MAX_ENTITIES) return MAX_LIMIT;
    group->entity[group->count++] = entity;
    return OK;
}

API int dcgmGroupAddDevice(handle engine, uintptr_t id, unsigned int gpu) {
    return dcgmGroupAddEntity(engine, id, GPU, gpu);
}

API int dcgmGroupGetInfo(handle engine, uintptr_t id, struct group_info_v3 *into) {
    ENTER(engine);
    NEED_VERSION(into, 3);
    struct group *group = group_of(id);
    if (!group) return NOT_CONFIGURED;
    into->count = (unsigned int)group->count;
    memcpy(into->name, group->name, sizeof into->name);
    memcpy(into->entity, group->entity, sizeof into->entity);
    return OK;
}

API int dcgmFieldGroupCreate(handle engine, int count, const unsigned short *fields, const char *name, uintptr_t *id) {
    (void)name;
    ENTER(engine);
    struct field_group *group = field_groups;
    while (group < field_groups + MAX_GROUPS && group->used) group++;
    if (count < 1 || count > MAX_FIELDS) return BAD_PARAM;
    if (group == field_groups + MAX_GROUPS) return MAX_LIMIT;
    for (int i = 0; i < count; i++)
        if (!DcgmFieldGetById(fields[i])) return UNKNOWN_FIELD;
    group->used = 1;
    group->count = count;
    memcpy(group->field, fields, (size_t)count * sizeof *fields);
    *id = (uintptr_t)(group - field_groups) + 1;
    return OK;
}

API int dcgmFieldGroupDestroy(handle engine, uintptr_t id) {
    ENTER(engine);
    struct field_group *fields = fields_of(id);
    if (!fields) return NO_SUCH_DATA;
    fields->used = 0;
    return OK;
}

API int dcgmWatchFields(handle engine, uintptr_t group, uintptr_t fields, long long every, double age, int samples) {
    (void)age;
    (void)samples;
    ENTER(engine);
    if (group != ALL_GPUS && !group_of(group)) return NOT_CONFIGURED;
    if (!fields_of(fields) || every < 1) return BAD_PARAM;
    for (int i = 0; i < MAX_WATCHES; i++) {
        if (watches[i].used) continue;
        watches[i] = (struct watch){1, group, fields, now(), every};
        return OK;
    }
    return MAX_LIMIT;
}

API int dcgmUnwatchFields(handle engine, uintptr_t group, uintptr_t fields) {
    ENTER(engine);
    for (int i = 0; i < MAX_WATCHES; i++) {
        if (!watches[i].used || watches[i].group != group || watches[i].fields != fields) continue;
        watches[i].used = 0;
        return OK;
    }
    return NOT_WATCHED;
}

API int dcgmUpdateAllFields(handle engine, int wait) {
    (void)wait;
    ENTER(engine);
    return OK;
}

static int has_entity(uintptr_t id, struct entity entity) {
    const struct group *group = group_of(id);
    if (id == ALL_GPUS) return entity.kind == GPU;
    for (int i = 0; group && i < group->count; i++)
        if (group->entity[i].kind == entity.kind && group->entity[i].id == entity.id) return 1;
    return 0;
}

static int has_field(uintptr_t id, unsigned short field) {
    const struct field_group *fields = fields_of(id);
    for (int i = 0; fields && i < fields->count; i++)
        if (fields->field[i] == field) return 1;
    return 0;
}

/* When the newest sample was taken, or 0: the first when the watch began, then at its pace. */
static int64_t sampled(struct entity entity, unsigned short field) {
    int64_t newest = 0, moment = now();
    for (int i = 0; i < MAX_WATCHES; i++) {
        const struct watch *watch = &watches[i];
        if (!watch->used || !has_entity(watch->group, entity) || !has_field(watch->fields, field)) continue;
        int64_t when = watch->since + (moment - watch->since) / watch->every * watch->every;
        if (when > newest) newest = when;
    }
    return newest;
}

static int latest(struct entity entity, unsigned short id, int live, struct value_v1 *into) {
    struct place place;
    const struct field *field = DcgmFieldGetById(id);
    if (!field) return UNKNOWN_FIELD;
    if (!entity_place(entity, &place)) return BAD_PARAM;
    into->version = VERSION_OF(*into, 1);
    into->field = id;
    into->type = (unsigned char)field->type;
    into->when = live ? now() : sampled(entity, id);
    into->status = into->when ? OK : NOT_WATCHED;
    if (into->when) field_value(field, &here, place, into->when, &into->value);
    else field_blank(field->type, &into->value);
    return OK;
}

API int dcgmEntityGetLatestValues(handle engine, int kind, int id, unsigned short *fields, unsigned int count,
                                  struct value_v1 *into) {
    struct entity entity = {kind, (unsigned int)id};
    ENTER(engine);
    for (unsigned int i = 0; i < count && result == OK; i++) result = latest(entity, fields[i], 0, &into[i]);
    return result;
}

API int dcgmGetLatestValuesForFields(handle engine, int gpu, unsigned short *fields, unsigned int count,
                                     struct value_v1 *into) {
    return dcgmEntityGetLatestValues(engine, GPU, gpu, fields, count, into);
}

API int dcgmEntitiesGetLatestValues(handle engine, struct entity *entities, unsigned int count, unsigned short *fields,
                                    unsigned int each, unsigned int flags, struct value_v2 *into) {
    static struct value_v1 one;
    ENTER(engine);
    for (unsigned int i = 0; i < count * each && result == OK; i++) {
        result = latest(entities[i / each], fields[i % each], flags & LIVE, &one);
        if (result != OK) continue;
        into[i] = (struct value_v2){.version = VERSION_OF(*into, 2), .entity = entities[i / each], .field = one.field};
        into[i].type = one.type;
        into[i].status = one.status;
        into[i].when = one.when;
        into[i].value = one.value;
    }
    return result;
}

/* One round of the newest values, for whoever asks often enough. */
API int dcgmGetValuesSince_v2(handle engine, uintptr_t group_id, uintptr_t fields_id, long long since, long long *next,
                              enumerator *take, void *user) {
    ENTER(engine);
    const struct group *group = group_of(group_id);
    const struct field_group *fields = fields_of(fields_id);
    if (!group || !fields) return NOT_CONFIGURED;
    struct value_v1 *values = calloc(MAX_FIELDS, sizeof *values);
    for (int i = 0; i < group->count; i++) {
        int count = 0;
        for (int j = 0; j < fields->count; j++) {
            if (latest(group->entity[i], fields->field[j], 0, &values[count]) != OK) continue;
            count += values[count].status == OK && values[count].when >= since;
        }
        if (count) take(group->entity[i].kind, group->entity[i].id, values, count, user);
    }
    free(values);
    *next = now() + 1;
    return OK;
}
