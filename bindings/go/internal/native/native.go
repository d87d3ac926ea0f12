package native

// #cgo CFLAGS: -Wno-unused-function
// #cgo noescape gw_publish_packed
// #cgo nocallback gw_publish_packed
// #cgo noescape gw_publish_waiting
// #cgo nocallback gw_publish_waiting
// #cgo noescape gw_pack
// #cgo nocallback gw_pack
// #cgo noescape gw_event_attributes
// #cgo nocallback gw_event_attributes
// #cgo noescape gw_next_now
// #cgo nocallback gw_next_now
// #cgo noescape gw_batch_take
// #cgo nocallback gw_batch_take
// #cgo noescape gw_settle_many
// #cgo nocallback gw_settle_many
// #cgo noescape gw_queue_take
// #cgo nocallback gw_queue_take
// #include "border.h"
import "C"

import (
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Handle is what the library holds for this program; 0 is none.
type Handle = uintptr

// Kinds of completions.
const (
	Failed       = C.MW_FAILED
	Done         = C.MW_DONE
	Receipt      = C.MW_RECEIPT
	Client       = C.MW_CLIENT
	State        = C.MW_STATE
	Started      = C.MW_STARTED
	Receipts     = C.MW_RECEIPTS
	Subscription = C.MW_SUBSCRIPTION
	Deliveries   = C.MW_DELIVERIES
	Works        = C.MW_WORKS
	Reply        = C.MW_REPLY
	Replies      = C.MW_REPLIES
	ReplyBatch   = C.MW_REPLY_BATCH
	Text         = C.MW_TEXT
	Over         = C.MW_OVER
)

// Ways to settle, and ways in which a handler ends.
const (
	Ack    = C.MW_ACK
	Nack   = C.MW_NACK
	Reject = C.MW_REJECT

	Handled     = C.MW_HANDLED
	HandledBad  = C.MW_HANDLER_FAILED
	HandleAgain = C.MW_HANDLE_AGAIN
	HandleNever = C.MW_HANDLE_NEVER
)

// Failure is an error as the library says it.
type Failure struct {
	Code            int
	Name            string
	Text, Operation string
	Retry           int
	RetryAfterMs    int64
	Context         [][2]string
}

// takeFailure reads an error and frees it; nil of none.
func takeFailure(err C.handle) *Failure {
	if err == 0 {
		return nil
	}
	failure := &Failure{
		Code:         int(C.gw_error_code(err)),
		Name:         C.GoString(C.gw_error_name(err)),
		Text:         C.GoString(C.gw_error_text(err)),
		Operation:    C.GoString(C.gw_error_operation(err)),
		Retry:        int(C.gw_error_retry(err)),
		RetryAfterMs: int64(C.gw_error_retry_after(err)),
	}
	var name, value *C.char
	for at := C.size_t(0); bool(C.gw_error_context(err, at, &name, &value)); at++ {
		failure.Context = append(failure.Context, [2]string{C.GoString(name), C.GoString(value)})
	}
	C.gw_error_free(err)
	return failure
}

// end gives the error of a call that ended with that code.
func end(code C.int, err C.handle) *Failure {
	if code == 0 {
		return nil
	}
	if failure := takeFailure(err); failure != nil {
		return failure
	}
	return &Failure{Code: int(code), Name: "INTERNAL", Text: "the library gave a number and no error"}
}

// text copies a text for C. The caller frees it. One with a NUL in it, which C cannot have, is a failure.
func text(operation, name, value string) (*C.char, *Failure) {
	if strings.IndexByte(value, 0) >= 0 {
		return nil, &Failure{Code: C.MW_INVALID, Name: "INVALID", Operation: operation, Text: name + " has a NUL in it"}
	}
	return C.CString(value), nil
}

// reason copies for C why something failed: what C cannot have, or what is not UTF-8, is replaced, because what it is of is to end. The caller
// frees it.
func reason(why string) *C.char {
	return C.CString(strings.Map(func(r rune) rune {
		if r == 0 {
			return utf8.RuneError
		}
		return r
	}, why))
}

func free(text *C.char) { C.free(unsafe.Pointer(text)) }

// takeText reads a text and frees it.
func takeText(text C.handle) string {
	defer C.gw_text_free(text)
	return C.GoString(C.gw_text(text))
}

// TakeText reads a text of a completion and frees it.
func TakeText(text Handle) string { return takeText(C.handle(text)) }

// Version is that of the library.
func Version() string { return C.GoString(C.mw_version()) }

// Completion is what a call came to.
type Completion struct {
	Tag       uint64
	Kind      int
	Code      int
	Failure   *Failure
	Value     Handle
	Count     int
	Position  uint64
	Duplicate bool
}

// Queue brings completions.
type Queue struct {
	handle C.handle
	into   *[most]C.gw_completion
	bell   *bell
}

// most is taken at once.
const most = 256

// NewQueue makes a queue for so many calls at once. One goroutine takes from it.
func NewQueue(calls int) *Queue {
	handle := C.gw_queue_new(C.size_t(calls))
	return &Queue{handle: handle, into: new([most]C.gw_completion), bell: watch(int(C.gw_queue_fd(handle)))}
}

// Take waits for completions, and puts them into the slice; false: the queue is closed.
func (q *Queue) Take(taken []Completion) ([]Completion, bool) {
	if q.bell == nil {
		return q.take(taken, C.MW_FOREVER)
	}
	open := true
	rings := q.bell.wait(func() bool {
		taken, open = q.take(taken, 0)
		return len(taken) > 0 || !open
	})
	return taken, open && rings
}

func (q *Queue) take(taken []Completion, ms C.int64_t) ([]Completion, bool) {
	var n C.size_t
	code := C.gw_queue_take(q.handle, &q.into[0], most, ms, &n)
	for at := range q.into[:n] {
		c := &q.into[at]
		taken = append(taken, Completion{
			Tag: uint64(c.tag), Kind: int(c.kind), Code: int(c.code), Failure: takeFailure(c.error),
			Value: Handle(c.value), Count: int(c.count), Position: uint64(c.position), Duplicate: bool(c.duplicate),
		})
	}
	return taken, code == 0
}

// Free ends the queue, and whoever waits in it.
func (q *Queue) Free() {
	C.gw_queue_free(q.handle)
	q.bell.close()
}

// Begin begins a call: its operation, with which it is cancelled.
type Begin func(q *Queue, tag uint64) (Handle, *Failure)

// begun is for calls whose operation the program wants.
func begun(call func(op, err *C.handle) C.int) (Handle, *Failure) {
	var op, err C.handle
	code := call(&op, &err)
	return Handle(op), end(code, err)
}

// Cancel ends a call; its completion comes all the same.
func Cancel(op Handle) { C.gw_cancel(C.handle(op)) }

// FreeOperation lets go of a call, which goes on or has ended.
func FreeOperation(op Handle) { C.gw_operation_free(C.handle(op)) }

// Connect begins to connect.
func Connect(url, options string) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		said, failure := text("connect", "options", options)
		if failure != nil {
			return 0, failure
		}
		defer free(said)
		var at *C.char
		if url != "" {
			if at, failure = text("connect", "the url", url); failure != nil {
				return 0, failure
			}
			defer free(at)
		}
		return begun(func(op, err *C.handle) C.int {
			return C.gw_connect_start(at, said, q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// Connected begins to wait for a gateway.
func Connected(mesh Handle) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		return begun(func(op, err *C.handle) C.int {
			return C.gw_connected_start(C.handle(mesh), q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// StateAfter begins to wait for another state.
func StateAfter(mesh Handle, before int) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		return begun(func(op, err *C.handle) C.int {
			return C.gw_state_start(C.handle(mesh), C.int(before), q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// StateNow is the client's state.
func StateNow(mesh Handle) int { return int(C.gw_client_state(C.handle(mesh))) }

// Stats are the client's counts, as JSON.
func Stats(mesh Handle) (string, *Failure) {
	var json, err C.handle
	if failure := end(C.gw_stats(C.handle(mesh), &json, &err), err); failure != nil {
		return "", failure
	}
	return takeText(json), nil
}

// Flush begins to wait for what was published.
func Flush(mesh Handle) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		return begun(func(op, err *C.handle) C.int {
			return C.gw_flush_start(C.handle(mesh), q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// Drain begins to end the client; negative: the default deadline.
func Drain(mesh Handle, deadlineMs int64) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		return begun(func(op, err *C.handle) C.int {
			return C.gw_drain_start(C.handle(mesh), C.int64_t(deadlineMs), q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// Close drains a client that was not, and frees it.
func Close(mesh Handle, deadlineMs int64) { C.gw_close(C.handle(mesh), C.int64_t(deadlineMs)) }

// Admin begins an administrative command.
func Admin(mesh Handle, command, arguments string) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		name, failure := text("administration", "the command", command)
		if failure != nil {
			return 0, failure
		}
		defer free(name)
		said, failure := text("administration", "an argument", arguments)
		if failure != nil {
			return 0, failure
		}
		defer free(said)
		return begun(func(op, err *C.handle) C.int {
			return C.gw_admin_start(C.handle(mesh), name, said, q.handle, C.uint64_t(tag), op, err)
		})
	}
}
