package native

// #include "border.h"
import "C"

import (
	"encoding/binary"
	"unsafe"
)

// StartGateway starts a gateway for tests.
func StartGateway(arguments []string) (Handle, *Failure) {
	var gateway, err C.handle
	if arguments == nil {
		code := C.gw_gateway_start(&gateway, nil, 0, &err)
		return Handle(gateway), end(code, err)
	}
	said := (*[1 << 16]*C.char)(C.calloc(C.size_t(len(arguments)+1), C.size_t(unsafe.Sizeof((*C.char)(nil)))))
	defer C.free(unsafe.Pointer(said))
	for at, argument := range arguments {
		one, failure := text("start gateway", "an argument", argument)
		if failure != nil {
			return 0, failure
		}
		defer free(one)
		said[at] = one
	}
	code := C.gw_gateway_start(&gateway, &said[0], C.size_t(len(arguments)), &err)
	return Handle(gateway), end(code, err)
}

// GatewayURL is where it listens.
func GatewayURL(gateway Handle) string { return C.GoString(C.gw_gateway_url(C.handle(gateway))) }

// StopGateway asks it to stop.
func StopGateway(gateway Handle) *Failure {
	var err C.handle
	return end(C.gw_gateway_stop(C.handle(gateway), &err), err)
}

// KillGateway kills it.
func KillGateway(gateway Handle) { C.gw_gateway_kill(C.handle(gateway)) }

// Record is one thing that was logged.
type Record struct {
	Level        int
	TimeMs       int64
	Target, Text string
	// Fields are what it is about: names and values.
	Fields [][2]string
}

// KeepLogs begins to keep what the library logs.
func KeepLogs(level int) *Failure {
	var err C.handle
	return end(C.gw_logs_keep(C.int(level), &err), err)
}

// LogLevel keeps them from another level on.
func LogLevel(level int) *Failure {
	var err C.handle
	return end(C.gw_logs_level(C.int(level), &err), err)
}

// TakeLogs waits for records, for so long; false: there are no more.
func TakeLogs(timeoutMs int64) ([]Record, uint64, bool) {
	records := (*C.gw_records)(C.calloc(1, C.size_t(unsafe.Sizeof(C.gw_records{}))))
	defer C.free(unsafe.Pointer(records))
	var dropped C.uint64_t
	open := C.gw_logs(C.int64_t(timeoutMs), records, &dropped) == 0
	bytes := C.GoBytes(unsafe.Pointer(records.bytes), C.int(records.len))
	C.free(unsafe.Pointer(records.bytes))
	var all []Record
	run := func() string {
		n := binary.NativeEndian.Uint32(bytes)
		text := string(bytes[4 : 4+n])
		bytes = bytes[4+n:]
		return text
	}
	for len(bytes) > 0 {
		record := Record{Level: int(binary.NativeEndian.Uint32(bytes)), TimeMs: int64(binary.NativeEndian.Uint64(bytes[4:]))}
		count := binary.NativeEndian.Uint32(bytes[12:])
		bytes = bytes[16:]
		record.Target, record.Text = run(), run()
		for range count {
			record.Fields = append(record.Fields, [2]string{run(), run()})
		}
		all = append(all, record)
	}
	return all, uint64(dropped), open
}
