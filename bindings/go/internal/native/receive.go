package native

// #include "border.h"
import "C"

import (
	"strings"
	"unsafe"
)

// Subscribe begins to subscribe.
func Subscribe(mesh Handle, topic, options string) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		to, failure := text("subscribe", "topic", topic)
		if failure != nil {
			return 0, failure
		}
		defer free(to)
		said, failure := text("subscribe", "options", options)
		if failure != nil {
			return 0, failure
		}
		defer free(said)
		return begun(func(op, err *C.handle) C.int {
			return C.gw_subscribe_start(C.handle(mesh), to, said, q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// NextNow takes the deliveries that are here, without waiting; false: the subscription is over.
func NextNow(sub Handle, into []Handle) (int, bool, *Failure) {
	var n C.size_t
	var err C.handle
	code := C.gw_next_now(
		C.handle(sub), (*C.handle)(unsafe.Pointer(unsafe.SliceData(into))), C.size_t(len(into)), &n, &err)
	if code == C.MW_ENDED {
		return 0, false, nil
	}
	return int(n), true, end(code, err)
}

// Next begins to wait for deliveries.
func Next(sub Handle, most int) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		return begun(func(op, err *C.handle) C.int {
			return C.gw_next_start(C.handle(sub), C.size_t(most), q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// TakeDeliveries takes the deliveries of a completion.
func TakeDeliveries(batch Handle, into []Handle) int {
	var n C.size_t
	var err C.handle
	C.gw_batch_take(C.handle(batch), (*C.handle)(unsafe.Pointer(unsafe.SliceData(into))), C.size_t(len(into)), &n, &err)
	takeFailure(err)
	return int(n)
}

// TakeAhead has the library look after what it gives of a subscription until that is claimed.
func TakeAhead(sub Handle) { C.gw_take_ahead(C.handle(sub)) }

// Leave ends a subscription whose loop was left: what the program was handed and has not settled has failed.
func Leave(sub Handle) { C.gw_leave(C.handle(sub)) }

// Unsubscribe ends a subscription.
func Unsubscribe(sub Handle) { C.gw_unsubscribe(C.handle(sub)) }

// Pack writes messages down: what is said of them into the buffer, which is grown where it is too small, and their events into memory of their
// own, as much as they take. How much that is may be guessed; a bad guess costs writing them twice, and a good one wastes at most an eighth.
func Pack(kind int, things []Handle, heads []byte, guess int) (said, events []byte, failure *Failure) {
	events = uncleared(guess)
	for {
		said, kept := C.size_t(len(heads)), C.size_t(len(events))
		var err C.handle
		code := C.gw_pack(C.int(kind), (*C.handle)(unsafe.Pointer(unsafe.SliceData(things))), C.size_t(len(things)),
			first(heads), &said, first(events), &kept, &err)
		if code != 0 {
			return nil, nil, end(code, err)
		}
		if int(said) <= len(heads) && int(kept) <= len(events) && len(events)-int(kept) <= len(events)/8 {
			return heads[:said], events[:kept:kept], nil
		}
		if int(said) > len(heads) {
			heads = make([]byte, said)
		}
		events = uncleared(int(kept))
	}
}

// uncleared is memory that the library is about to fill: it is not cleared first.
func uncleared(size int) []byte {
	if size == 0 {
		return nil
	}
	var all strings.Builder
	all.Grow(size)
	all.WriteByte(0)
	return unsafe.Slice(unsafe.StringData(all.String()), size)
}

// Attributes has the library write down what an event says beside id, source and type.
func Attributes(event string) ([]byte, *Failure) {
	buffer := make([]byte, min(len(event), 256)+128)
	for fits := false; !fits; {
		var needed C.size_t
		var err C.handle
		code := C.gw_event_attributes((*C.uint8_t)(unsafe.Pointer(unsafe.StringData(event))), C.size_t(len(event)),
			first(buffer), C.size_t(len(buffer)), &needed, &err)
		if code != 0 {
			return nil, end(code, err)
		}
		buffer, fits = sized(buffer, needed)
	}
	return buffer, nil
}

// sized is what was written, or a buffer with room for all of it.
func sized(buffer []byte, needed C.size_t) ([]byte, bool) {
	if int(needed) <= len(buffer) {
		return buffer[:needed:needed], true
	}
	return make([]byte, needed), false
}

// SettleMany settles deliveries alike.
func SettleMany(deliveries []Handle, kind int, delayMs int64, why string) *Failure {
	var said *C.char
	if why != "" {
		said = reason(why)
		defer free(said)
	}
	var err C.handle
	code := C.gw_settle_many((*C.handle)(unsafe.Pointer(unsafe.SliceData(deliveries))), C.size_t(len(deliveries)),
		C.int(kind), C.int64_t(delayMs), said, &err)
	return end(code, err)
}

// Settle settles one delivery, and begins to wait for the gateway's word.
func Settle(delivery Handle, kind int, delayMs int64, why string) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		said := reason(why)
		defer free(said)
		return begun(func(op, err *C.handle) C.int {
			return C.gw_settle_start(
				C.handle(delivery), C.int(kind), C.int64_t(delayMs), said, q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// Extend begins the lease of a delivery anew.
func Extend(delivery Handle) int { return int(C.gw_extend(C.handle(delivery))) }

// ExtendConfirmed does so, and begins to wait for the gateway's word.
func ExtendConfirmed(delivery Handle) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		return begun(func(op, err *C.handle) C.int {
			return C.gw_extend_start(C.handle(delivery), q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// FreeDelivery lets go of a delivery without a word.
func FreeDelivery(delivery Handle) { C.gw_delivery_free(C.handle(delivery)) }

// Claim says that the program is handed a delivery, and all before it; false: it comes again, and is to be given back.
func Claim(delivery Handle) bool { return bool(C.gw_claim(C.handle(delivery))) }

// ClaimBatch says that the program is handed deliveries, to work on one after the other, and for each what Claim would say.
func ClaimBatch(deliveries []Handle) []bool {
	claimed := make([]bool, len(deliveries))
	C.gw_claim_batch((*C.handle)(unsafe.Pointer(unsafe.SliceData(deliveries))), C.size_t(len(deliveries)),
		(*C.bool)(unsafe.Pointer(unsafe.SliceData(claimed))))
	return claimed
}

// GiveBack lets go of deliveries as if they had not been taken.
func GiveBack(deliveries []Handle) {
	if len(deliveries) > 0 {
		C.gw_give_back((*C.handle)(unsafe.Pointer(unsafe.SliceData(deliveries))), C.size_t(len(deliveries)))
	}
}

// Work is something for a handler: a job, a request, or the number of one that is wanted no more.
type Work struct {
	Job, Request Handle
	Lost         uint64
}

// TakeWorks takes the work of a completion.
func TakeWorks(works Handle, count int) []Work {
	if count == 0 {
		return nil
	}
	places := make([]C.gw_work, count)
	var n C.size_t
	var err C.handle
	C.gw_works_take(C.handle(works), unsafe.SliceData(places), C.size_t(count), &n, &err)
	takeFailure(err)
	all := make([]Work, 0, n)
	for _, place := range places[:n] {
		all = append(all, Work{Handle(place.job), Handle(place.request), uint64(place.lost)})
	}
	return all
}

// Loop is a consume or a serve that runs.
type Loop struct {
	handle C.handle
	serves bool
}

func loop(serves bool, operation, topic, options string, make func(to, said *C.char, made, err *C.handle) C.int) (*Loop, *Failure) {
	to, failure := text(operation, "topic", topic)
	if failure != nil {
		return nil, failure
	}
	defer free(to)
	said, failure := text(operation, "options", options)
	if failure != nil {
		return nil, failure
	}
	defer free(said)
	var made, err C.handle
	code := make(to, said, &made, &err)
	return &Loop{made, serves}, end(code, err)
}

// Consume begins to consume.
func Consume(mesh Handle, topic, options string) (*Loop, *Failure) {
	return loop(false, "consume", topic, options, func(to, said *C.char, made, err *C.handle) C.int {
		return C.gw_consumer_new(C.handle(mesh), to, said, made, err)
	})
}

// Serve begins to serve.
func Serve(mesh Handle, topic, options string) (*Loop, *Failure) {
	return loop(true, "serve", topic, options, func(to, said *C.char, made, err *C.handle) C.int {
		return C.gw_responder_new(C.handle(mesh), to, said, made, err)
	})
}

// Next begins to wait for work.
func (l *Loop) Next(most int) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		return begun(func(op, err *C.handle) C.int {
			if l.serves {
				return C.gw_responder_next(l.handle, C.size_t(most), q.handle, C.uint64_t(tag), op, err)
			}
			return C.gw_consumer_next(l.handle, C.size_t(most), q.handle, C.uint64_t(tag), op, err)
		})
	}
}

// Stop takes no more work.
func (l *Loop) Stop() {
	if l.serves {
		C.gw_responder_stop(l.handle)
	} else {
		C.gw_consumer_stop(l.handle)
	}
}

// Free ends it.
func (l *Loop) Free() {
	if l.serves {
		C.gw_responder_free(l.handle)
	} else {
		C.gw_consumer_free(l.handle)
	}
}

// EndJob says how a handler ended.
func EndJob(job Handle, how int, delayMs int64, why string) *Failure {
	said := reason(why)
	defer free(said)
	var err C.handle
	return end(C.gw_job_end(C.handle(job), C.int(how), C.int64_t(delayMs), said, &err), err)
}

// SendReply begins to send one of many replies.
func SendReply(request Handle, event []byte) Begin {
	return func(q *Queue, tag uint64) (Handle, *Failure) {
		return begun(func(op, err *C.handle) C.int {
			return C.gw_reply_send_start(C.handle(request), unsafe.Pointer(first(event)), C.size_t(len(event)), q.handle,
				C.uint64_t(tag), op, err)
		})
	}
}

// AnswerRequest gives the one reply.
func AnswerRequest(request Handle, event []byte) *Failure {
	var err C.handle
	return end(C.gw_request_answer(C.handle(request), unsafe.Pointer(first(event)), C.size_t(len(event)), &err), err)
}

// EndRequest says that there are no more replies.
func EndRequest(request Handle) *Failure {
	var err C.handle
	return end(C.gw_request_end(C.handle(request), &err), err)
}

// FailRequest says that the handler failed.
func FailRequest(request Handle, why string) *Failure {
	said := reason(why)
	defer free(said)
	var err C.handle
	return end(C.gw_request_fail(C.handle(request), said, &err), err)
}
