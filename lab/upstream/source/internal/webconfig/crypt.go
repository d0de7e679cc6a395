package webconfig

// #cgo LDFLAGS: -lcrypt
// #include <crypt.h>
// #include <stdlib.h>
import "C"

import (
	"crypto/subtle"
	"unsafe"
)

// passwordFits asks libcrypt, because Go's standard library has no bcrypt. It also makes the program
// depend on the C compiler and libraries of the machine that builds it, as the real one does.
func passwordFits(password, hash string) bool {
	phrase, setting := C.CString(password), C.CString(hash)
	defer C.free(unsafe.Pointer(phrase))
	defer C.free(unsafe.Pointer(setting))
	data := (*C.struct_crypt_data)(C.calloc(1, C.sizeof_struct_crypt_data))
	defer C.free(unsafe.Pointer(data))
	result := C.crypt_r(phrase, setting, data)
	return result != nil && subtle.ConstantTimeCompare([]byte(C.GoString(result)), []byte(hash)) == 1
}
