/* The part of libdcgm's binary interface (DCGM 4) that dcgm-exporter uses: numbers, and order and size of members. */
#ifndef DCGM_H
#define DCGM_H

#include <stddef.h>
#include <stdint.h>

#define API __attribute__((visibility("default")))

/* Results. */
enum {
    OK = 0, BAD_PARAM = -1, NOT_CONFIGURED = -5, NOT_SUPPORTED = -6, UNINITIALIZED = -10, VERSION_MISMATCH = -12,
    UNKNOWN_FIELD = -13, NO_SUCH_DATA = -14, NOT_WATCHED = -16, CONNECTION_NOT_VALID = -21, MAX_LIMIT = -24,
    INSUFFICIENT_SIZE = -31, MODULE_NOT_LOADED = -33, PROFILING_NOT_SUPPORTED = -36,
};

/* Kinds of entities, which are also the levels of fields. */
enum { NOTHING, GPU, VGPU, SWITCH, GPU_INSTANCE, COMPUTE_INSTANCE, LINK, CPU };

enum { INTEGER = 'i', DOUBLE = 'd', STRING = 's' };

#define BLANK_INTEGER 0x7ffffffffffffff0LL
#define BLANK_DOUBLE 140737488355328.0
#define BLANK_STRING "<<<NULL>>>"

/* A structure's version word is its size and, in the highest byte, its number. */
#define VERSION_OF(structure, number) ((unsigned int)(sizeof(structure) | (unsigned long)(number) << 24))
#define HAS_SIZE(structure, size) _Static_assert(sizeof(structure) == (size), "DCGM has it " #size " bytes long")
#define HAS_PLACE(structure, member, place) \
    _Static_assert(offsetof(structure, member) == (place), "DCGM has it at " #place)

typedef uintptr_t handle;

enum { MAX_GPUS = 32, TEXT = 256, BLOB = 4096, MAX_ENTITIES = 1024, GPU_LINKS = 18 };

struct connect_v2 { unsigned int version, persist, timeout_ms, is_unix; };
struct connect_v3 { unsigned int version, persist, timeout_ms; };

struct clocks { unsigned int version, count, set[256][3]; };
struct thermals { unsigned int version, slowdown, shutdown; };
struct power { unsigned int version, current, standard, enforced, least, most; };
struct identifiers {
    unsigned int version;
    char brand[TEXT], name[TEXT], bus[TEXT], serial[TEXT], uuid[TEXT], vbios[TEXT], inforom[TEXT];
    unsigned int pci_device, pci_subsystem;
    char driver[TEXT];
    unsigned int virtualization;
};
struct memory { unsigned int version, bar1, total, used, free; };
struct settings { unsigned int version, persistence, mig, confidential; };
struct attributes_v3 {
    unsigned int version;
    struct clocks clocks;
    struct thermals thermals;
    struct power power;
    struct identifiers identifiers;
    struct memory memory;
    struct settings settings;
};
HAS_SIZE(struct attributes_v3, 5220);
HAS_PLACE(struct attributes_v3, power.standard, 3104);
HAS_PLACE(struct attributes_v3, identifiers.uuid, 4148);
HAS_PLACE(struct attributes_v3, identifiers.driver, 4924);

struct entity { int kind; unsigned int id; };
struct mig_info { char uuid[128]; unsigned int gpu, instance, compute, profile, slices; };
struct mig_entry { struct entity entity, parent; struct mig_info info; };
struct mig_hierarchy_v2 { unsigned int version, count; struct mig_entry entry[448]; };
HAS_SIZE(struct mig_hierarchy_v2, 73480);
HAS_PLACE(struct mig_hierarchy_v2, entry[1].info.instance, 320);

union value { int64_t integer; double number; char text[TEXT], blob[BLOB]; };
struct value_v1 { unsigned int version; unsigned short field, type; int status; int64_t when; union value value; };
struct value_v2 {
    unsigned int version;
    struct entity entity;
    unsigned short field, type;
    int status;
    unsigned int unused;
    int64_t when;
    union value value;
};
HAS_SIZE(struct value_v1, 4120);
HAS_SIZE(struct value_v2, 4128);

struct gpu_links { unsigned int id; int state[GPU_LINKS]; };
struct switch_links { unsigned int id; int state[256]; };
struct links_v4 {
    unsigned int version, gpus;
    struct gpu_links gpu[MAX_GPUS];
    unsigned int switches;
    struct switch_links nvswitch[12];
};
HAS_SIZE(struct links_v4, 14780);

struct peers { unsigned int id; int state[MAX_GPUS]; };
struct p2p_v1 { unsigned int version, gpus; struct peers gpu[MAX_GPUS]; };
HAS_SIZE(struct p2p_v1, 4232);

struct path { unsigned int gpu; int level; unsigned int local_links; };
struct topology_v1 {
    unsigned int version;
    unsigned long affinity[8];
    unsigned int gpus;
    struct path path[MAX_GPUS - 1];
};
HAS_SIZE(struct topology_v1, 448);

struct profiling_group { unsigned short major, minor; unsigned int count; unsigned short field[64]; };
struct profiling_groups_v3 { unsigned int version, unused, gpu, count; struct profiling_group group[10]; };
HAS_SIZE(struct profiling_groups_v3, 1376);

struct group_info_v3 { unsigned int version, count; char name[TEXT]; struct entity entity[MAX_ENTITIES]; };
HAS_SIZE(struct group_info_v3, 8456);

/* Each incident would be 16 + 1028 bytes long; there are none. */
struct health_v5 { unsigned int version; int overall; unsigned int incidents; char incident[1069056]; };
HAS_SIZE(struct health_v5, 1069068);

struct version_v2 { unsigned int version; char text[TEXT * 2]; };
HAS_SIZE(struct version_v2, 516);

struct field { unsigned short id; char type; unsigned char size; char tag[48]; int scope, nvml, level; void *format; };
HAS_SIZE(struct field, 72);
HAS_PLACE(struct field, level, 60);

typedef int enumerator(int kind, unsigned int id, struct value_v1 *values, int count, void *user);

#endif
