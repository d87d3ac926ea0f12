package meshwire

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Delivery is one event, which the program settles once, with Ack, Nack, NackAfter or Reject. These hand it to the session and never wait;
// a lost one shows as a redelivery. Their error is one of the program: the delivery was settled before, or the client is closed. The forms
// named Confirmed wait for the gateway's word: LEASE_LOST says that it comes again, or came to somebody else.
//
// Forgotten without a word it stays with the program until its ack wait ends, and then comes again; so it is with Forget, which says so.
//
// In a handler of Consume its return settles it, unless one of these did before.
type Delivery struct {
	Message
	from *origin
	// place is where in its batch it is.
	place int
}

// origin is what the deliveries of a batch share, or what one in a handler has.
type origin struct {
	core *core
	// held are what the library has of a batch, each until it is settled, and until none of its deliveries is reachable.
	held []atomic.Uintptr
	// job is the handler's; then there is no batch.
	job *job
}

// held is where its handle is; not of one without a batch.
func (d *Delivery) held() *atomic.Uintptr { return &d.from.held[d.place] }

// job is that of its handler; nil: it is in none.
func (d *Delivery) job() *job {
	if d.from == nil {
		return nil
	}
	return d.from.job
}

// keep has the library let go of what the program forgot.
func (c *core) keep(all []native.Handle) *origin {
	kept := &origin{core: c, held: make([]atomic.Uintptr, len(all))}
	for at, one := range all {
		kept.held[at].Store(one)
	}
	runtime.AddCleanup(kept, func(all []atomic.Uintptr) {
		for at := range all {
			if one := all[at].Swap(0); one != 0 {
				native.FreeDelivery(one)
			}
		}
	}, kept.held)
	return kept
}

// deliveries reads a batch, and says how many bytes its events take; that may be guessed.
func (c *core) deliveries(handles []native.Handle, topic string, guess int) (all []Delivery, size int, err error) {
	err = unpack(native.Deliveries, handles, topic, guess, func(read *messages) {
		size = len(read.events)
		kept := c.keep(handles)
		all = make([]Delivery, len(handles))
		for at := range all {
			d := &all[at]
			d.from, d.place = kept, at
			d.take(read)
		}
	})
	return all, size, err
}

func again(operation string) error {
	return invalid(operation, "this delivery was settled before: settle each once", nil)
}

// let gives the handle up, once.
func (d *Delivery) let(operation string) (native.Handle, error) {
	if d.from == nil {
		return 0, invalid(operation, "this delivery came from no subscription", nil)
	}
	handle := d.held().Swap(0)
	if handle == 0 {
		return 0, again(operation)
	}
	if d.from.core.ending.Load() {
		native.FreeDelivery(handle)
		return 0, closed(operation)
	}
	return handle, nil
}

func (d *Delivery) settle(operation string, kind int, delay time.Duration, reason string) error {
	if job := d.job(); job != nil {
		return job.settle(d, operation, kind, delay, reason)
	}
	handle, err := d.let(operation)
	if err != nil {
		return err
	}
	d.from.core.settled(d, operation)
	if kind == native.Ack {
		d.from.core.settles.ack(handle)
		return nil
	}
	return d.from.core.failed(native.SettleMany([]native.Handle{handle}, kind, wait(delay), reason))
}

// wait is a delay as the library has it; negative: as the group's settings say.
func wait(delay time.Duration) int64 {
	if delay < 0 {
		return -1
	}
	return millis(delay)
}

// Ack says that it is done: it does not come again.
func (d *Delivery) Ack() error { return d.settle("ack", native.Ack, -1, "") }

// Nack says that it failed: it comes again as the group's settings say.
func (d *Delivery) Nack() error { return d.settle("nack", native.Nack, -1, "") }

// NackAfter says that it failed, and comes again after a delay.
func (d *Delivery) NackAfter(delay time.Duration) error {
	return d.settle("nack_after", native.Nack, max(delay, 0), "")
}

// Reject says that it is never to come again: it becomes a dead letter, with the reason.
func (d *Delivery) Reject(reason string) error { return d.settle("reject", native.Reject, -1, reason) }

// Forget lets go of it without a word: it comes again when its ack wait has passed, and has failed if its subscription ends before.
func (d *Delivery) Forget() error {
	if d.job() != nil {
		return inHandler("forget")
	}
	handle, err := d.let("forget")
	if err == nil {
		d.from.core.settled(d, "forget")
		native.FreeDelivery(handle)
	}
	return err
}

func (d *Delivery) confirm(ctx context.Context, operation string, kind int, delay time.Duration, reason string) error {
	if d.job() != nil {
		return inHandler(operation)
	}
	if err := early(ctx, operation); err != nil {
		return err
	}
	handle, err := d.let(operation)
	if err != nil {
		return err
	}
	d.from.core.settled(d, operation)
	_, err = d.from.core.wait(ctx, native.Settle(handle, kind, wait(delay), reason))
	return err
}

func inHandler(operation string) error {
	return &Error{Code: CodeUnsupported, Number: numberOf(ErrUnsupported), Retry: RetryNever, Operation: operation,
		Message: "in a handler its return settles the delivery, and its lease is extended while it runs"}
}

// AckConfirmed acks, and waits for the gateway's word.
func (d *Delivery) AckConfirmed(ctx context.Context) error {
	return d.confirm(ctx, "ack_confirmed", native.Ack, -1, "")
}

// NackConfirmed nacks, and waits for the gateway's word.
func (d *Delivery) NackConfirmed(ctx context.Context) error {
	return d.confirm(ctx, "nack_confirmed", native.Nack, -1, "")
}

// NackAfterConfirmed nacks with a delay, and waits for the gateway's word.
func (d *Delivery) NackAfterConfirmed(ctx context.Context, delay time.Duration) error {
	return d.confirm(ctx, "nack_after_confirmed", native.Nack, max(delay, 0), "")
}

// RejectConfirmed rejects, and waits for the gateway's word.
func (d *Delivery) RejectConfirmed(ctx context.Context, reason string) error {
	return d.confirm(ctx, "reject_confirmed", native.Reject, -1, reason)
}

// Extend says that the program is still working: the lease begins anew. It does not wait.
func (d *Delivery) Extend() error {
	if d.job() != nil {
		return nil
	}
	handle, err := d.look("extend")
	if err != nil {
		return err
	}
	if native.Extend(handle) == 0 {
		return nil
	}
	if d.from.core.ending.Load() {
		return closed("extend")
	}
	return again("extend")
}

func (d *Delivery) look(operation string) (native.Handle, error) {
	if d.from == nil {
		return 0, invalid(operation, "this delivery came from no subscription", nil)
	}
	if d.from.core.ending.Load() {
		return 0, closed(operation)
	}
	handle := d.held().Load()
	if handle == 0 {
		return 0, again(operation)
	}
	return handle, nil
}

// ExtendConfirmed extends, and waits for the gateway's word.
func (d *Delivery) ExtendConfirmed(ctx context.Context) error {
	if d.job() != nil {
		return inHandler("extend_confirmed")
	}
	if err := early(ctx, "extend_confirmed"); err != nil {
		return err
	}
	handle, err := d.look("extend_confirmed")
	if err != nil {
		return err
	}
	_, err = d.from.core.wait(ctx, native.ExtendConfirmed(handle))
	return err
}

// String shows it in a line.
func (d *Delivery) String() string {
	return fmt.Sprintf("%s at %d of %s, attempt %d", d.ID, d.Position, d.Topic, d.Attempt)
}
