package host

// #cgo LDFLAGS: -ldl
// #include <dlfcn.h>
// #include <stddef.h>
//
// static int start_driver(void) {
//     void *library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_GLOBAL);
//     int (*start)(void) = NULL;
//     if (library) start = (int (*)(void))dlsym(library, "nvmlInit_v2");
//     if (library && !start) start = (int (*)(void))dlsym(library, "nvmlInit");
//     return start ? start() : -1;
// }
import "C"

import "fmt"

// HasDriver starts NVML, the driver's own library: without a live driver it does not start.
func HasDriver() error {
	if code := C.start_driver(); code != 0 {
		return fmt.Errorf("the NVML library did not start (%d)", code)
	}
	return nil
}
