/* What the parts of the library share. */
#ifndef LIBRARY_H
#define LIBRARY_H

#include <pthread.h>

#include "dcgm.h"
#include "machine.h"

/* The machine as it was when the engine was started or connected to. */
extern struct machine here;

/* Where an entity is: `instance` is NULL for a whole GPU, `board` for what belongs to no GPU. */
struct place { const struct board *board; const struct instance *instance; };

/* Returns 0 when there is no such entity. */
int entity_place(struct entity entity, struct place *into);

API const struct field *DcgmFieldGetById(unsigned short id);
void field_blank(char type, union value *into);

/* The value at a moment, in microseconds since 1970. */
void field_value(const struct field *field, const struct machine *machine, struct place place, int64_t when,
                 union value *into);

/* Forgets groups, fields and watches. */
void watches_clear(void);

/* OK while the engine is there. */
int engine_check(handle engine);

extern pthread_mutex_t guard;
void guard_leave(pthread_mutex_t **held);

/* The rest of the function runs alone, and only while the engine is there. */
#define ENTER(engine)                                                       \
    __attribute__((cleanup(guard_leave))) pthread_mutex_t *held = &guard;   \
    pthread_mutex_lock(held);                                               \
    int result = engine_check(engine);                                      \
    if (result != OK) return result

/* Refuses a structure of another version than the one that is known here. */
#define NEED_VERSION(structure, number) \
    if ((structure)->version != VERSION_OF(*(structure), number)) return VERSION_MISMATCH

#endif
