package native

// #include "border.h"
import "C"

import "unsafe"

// Refusal is an event that was not published, by its tag.
type Refusal struct {
	Tag     uint64
	Failure *Failure
}

func refusals(places []C.gw_refusal) []Refusal {
	var all []Refusal
	for _, place := range places {
		all = append(all, Refusal{uint64(place.tag), takeFailure(place.error)})
	}
	return all
}

func first(bytes []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(bytes))) }

// Refusals has places for those of one call at a time.
type Refusals struct{ places []C.gw_refusal }

// PublishPacked begins to publish many events, each behind its tag, its room and its topic. Without places it is one.
func PublishPacked(mesh Handle, events []byte, count int, q *Queue, into *Refusals) ([]Refusal, *Failure) {
	var n C.size_t
	var err C.handle
	if into == nil {
		var place C.gw_refusal
		code := C.gw_publish_packed(C.handle(mesh), first(events), C.size_t(len(events)), 1, q.handle, &place, &n, &err)
		if code == 0 && n == 0 {
			return nil, nil
		}
		return refusals([]C.gw_refusal{place}[:n]), end(code, err)
	}
	if len(into.places) < count {
		into.places = make([]C.gw_refusal, count)
	}
	code := C.gw_publish_packed(C.handle(mesh), first(events), C.size_t(len(events)), C.size_t(count), q.handle,
		unsafe.SliceData(into.places), &n, &err)
	return refusals(into.places[:n]), end(code, err)
}

// PublishWaiting says how many publishes wait for room.
func PublishWaiting(mesh Handle) int { return int(C.gw_publish_waiting(C.handle(mesh))) }

// PublishBatch begins to publish events as one batch, each of which has a result.
func PublishBatch(mesh Handle, topic string, events []byte, count int) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		to, failure := text("publish", "topic", topic)
		if failure != nil {
			return 0, failure
		}
		defer free(to)
		return begun(func(op, err *C.handle) C.int {
			return C.gw_publish_batch(C.handle(mesh), to, first(events), C.size_t(len(events)), C.size_t(count), q.handle,
				C.uint64_t(tag), op, err)
		})
	}
}

// Result is what one event of a batch came to.
type Result struct {
	Failure   *Failure
	Position  uint64
	Duplicate bool
}

// TakeReceipts takes the results of a batch.
func TakeReceipts(receipts Handle, count int) []Result {
	if count == 0 {
		return nil
	}
	places := make([]C.gw_result, count)
	var n C.size_t
	var err C.handle
	C.gw_receipts_take(C.handle(receipts), unsafe.SliceData(places), C.size_t(count), &n, &err)
	takeFailure(err)
	results := make([]Result, 0, n)
	for _, place := range places[:n] {
		results = append(results, Result{takeFailure(place.error), uint64(place.position), bool(place.duplicate)})
	}
	return results
}

// Admit begins to publish an event: it has come to Started when it is admitted.
func Admit(mesh Handle, topic string, event []byte) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		to, failure := text("publish", "topic", topic)
		if failure != nil {
			return 0, failure
		}
		defer free(to)
		return begun(func(op, err *C.handle) C.int {
			return C.gw_publish_admit(C.handle(mesh), to, unsafe.Pointer(first(event)), C.size_t(len(event)), q.handle,
				C.uint64_t(tag), op, err)
		})
	}
}

// StartedReceipt begins to wait for the receipt of what was admitted.
func StartedReceipt(started Handle, q *Queue, tag uint64) *Failure {
	var err C.handle
	return end(C.gw_started_receipt(C.handle(started), q.handle, C.uint64_t(tag), &err), err)
}

// FreeStarted lets go of a publish that was admitted.
func FreeStarted(started Handle) { C.gw_started_free(C.handle(started)) }

// CancelPublish calls a publish back that still waits for room.
func CancelPublish(mesh Handle, q *Queue, tag uint64) bool {
	return bool(C.gw_publish_cancel(C.handle(mesh), q.handle, C.uint64_t(tag)))
}

// Request begins to ask for one reply.
func Request(mesh Handle, topic string, event []byte, options string) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		to, failure := text("request", "topic", topic)
		if failure != nil {
			return 0, failure
		}
		defer free(to)
		said, failure := text("request", "options", options)
		if failure != nil {
			return 0, failure
		}
		defer free(said)
		return begun(func(op, err *C.handle) C.int {
			return C.gw_request_start(C.handle(mesh), to, unsafe.Pointer(first(event)), C.size_t(len(event)), said, q.handle,
				C.uint64_t(tag), op, err)
		})
	}
}

// RequestStream begins to ask for many.
func RequestStream(mesh Handle, topic string, event []byte, options string) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		to, failure := text("request_stream", "topic", topic)
		if failure != nil {
			return 0, failure
		}
		defer free(to)
		said, failure := text("request_stream", "options", options)
		if failure != nil {
			return 0, failure
		}
		defer free(said)
		return begun(func(op, err *C.handle) C.int {
			return C.gw_request_stream_start(C.handle(mesh), to, unsafe.Pointer(first(event)), C.size_t(len(event)), said,
				q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// RepliesNext begins to wait for replies.
func RepliesNext(replies Handle, most int) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		return begun(func(op, err *C.handle) C.int {
			return C.gw_replies_next_start(C.handle(replies), C.size_t(most), q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// TakeReplies takes the replies of a completion.
func TakeReplies(batch Handle, count int) []Handle {
	return take(count, func(into *C.handle, n *C.size_t, err *C.handle) {
		C.gw_reply_batch_take(C.handle(batch), into, C.size_t(count), n, err)
	})
}

func take(count int, call func(into *C.handle, n *C.size_t, err *C.handle)) []Handle {
	if count == 0 {
		return nil
	}
	all := make([]Handle, count)
	var n C.size_t
	var err C.handle
	call((*C.handle)(unsafe.Pointer(unsafe.SliceData(all))), &n, &err)
	takeFailure(err)
	return all[:n]
}

// CloseReplies wants no more replies.
func CloseReplies(replies Handle) { C.gw_replies_close(C.handle(replies)) }

// FreeReply frees a reply.
func FreeReply(reply Handle) { C.gw_reply_free(C.handle(reply)) }
