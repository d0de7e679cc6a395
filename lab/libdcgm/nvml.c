/* A libnvidia-ml.so.1 that starts where there is a driver; dcgm-exporter of 4.4.1-4.6.0 to 4.4.2-4.7.1 asks no more. */
#include <stdio.h>

#include "machine.h"

#define API __attribute__((visibility("default")))

enum { SUCCESS = 0, DRIVER_NOT_LOADED = 9 };

static struct machine machine;

API int nvmlInit_v2(void) {
    machine_read(&machine);
    return machine.has_driver ? SUCCESS : DRIVER_NOT_LOADED;
}

API int nvmlInit(void) { return nvmlInit_v2(); }

API int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    return nvmlInit_v2();
}

API int nvmlShutdown(void) { return SUCCESS; }

API int nvmlSystemGetDriverVersion(char *into, unsigned int room) {
    snprintf(into, room, "%s", machine.driver);
    return SUCCESS;
}

API int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = (unsigned int)machine.boards;
    return SUCCESS;
}

API const char *nvmlErrorString(int result) {
    if (result == SUCCESS) return "Success";
    return result == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Not Supported";
}
