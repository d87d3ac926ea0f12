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
	core *core
	// batch keeps the handles of those that came together until none of these is reachable. This one's is at its place until it is settled.
	batch *handles
	place int
	job   *job
}

// held is where its handle is; not of one without a batch.
func (d *Delivery) held() *atomic.Uintptr { return &d.batch.all[d.place] }

// handles are what the library holds for a batch of deliveries.
type handles struct{ all []atomic.Uintptr }

// keep has the library let go of what the program forgot.
func keep(all []native.Handle) *handles {
	kept := &handles{make([]atomic.Uintptr, len(all))}
	for at, one := range all {
		kept.all[at].Store(one)
	}
	runtime.AddCleanup(kept, func(all []atomic.Uintptr) {
		for at := range all {
			if one := all[at].Swap(0); one != 0 {
				native.FreeDelivery(one)
			}
		}
	}, kept.all)
	return kept
}

// deliveries reads a batch, and says how many bytes it has.
func (c *core) deliveries(handles []native.Handle, buffer []byte) ([]Delivery, int, error) {
	read, err := pack(native.Deliveries, handles, buffer)
	if err != nil {
		return nil, 0, err
	}
	size := len(read.bytes)
	kept := keep(handles)
	all := make([]Delivery, len(handles))
	for at := range all {
		d := &all[at]
		d.core, d.batch, d.place = c, kept, at
		d.take(&read)
	}
	return all, size, nil
}

func again(operation string) error {
	return invalid(operation, "this delivery was settled before: settle each once", nil)
}

// let gives the handle up, once.
func (d *Delivery) let(operation string) (native.Handle, error) {
	if d.batch == nil {
		return 0, invalid(operation, "this delivery came from no subscription", nil)
	}
	handle := d.held().Swap(0)
	if handle == 0 {
		return 0, again(operation)
	}
	if d.core.ending.Load() {
		native.FreeDelivery(handle)
		return 0, closed(operation)
	}
	return handle, nil
}

func (d *Delivery) settle(operation string, kind int, delay time.Duration, reason string) error {
	if d.job != nil {
		return d.job.settle(d, operation, kind, delay, reason)
	}
	handle, err := d.let(operation)
	if err != nil {
		return err
	}
	d.core.settled(d, operation)
	if kind == native.Ack {
		d.core.settles.ack(handle)
		return nil
	}
	return d.core.failed(native.SettleMany([]native.Handle{handle}, kind, wait(delay), reason))
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
	if d.job != nil {
		return inHandler("forget")
	}
	handle, err := d.let("forget")
	if err == nil {
		d.core.settled(d, "forget")
		native.FreeDelivery(handle)
	}
	return err
}

func (d *Delivery) confirm(ctx context.Context, operation string, kind int, delay time.Duration, reason string) error {
	if d.job != nil {
		return inHandler(operation)
	}
	if err := early(ctx, operation); err != nil {
		return err
	}
	handle, err := d.let(operation)
	if err != nil {
		return err
	}
	d.core.settled(d, operation)
	_, err = d.core.wait(ctx, native.Settle(handle, kind, wait(delay), reason))
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
	if d.job != nil {
		return nil
	}
	handle, err := d.look("extend")
	if err != nil {
		return err
	}
	if native.Extend(handle) == 0 {
		return nil
	}
	if d.core.ending.Load() {
		return closed("extend")
	}
	return again("extend")
}

func (d *Delivery) look(operation string) (native.Handle, error) {
	if d.batch == nil {
		return 0, invalid(operation, "this delivery came from no subscription", nil)
	}
	if d.core.ending.Load() {
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
	if d.job != nil {
		return inHandler("extend_confirmed")
	}
	if err := early(ctx, "extend_confirmed"); err != nil {
		return err
	}
	handle, err := d.look("extend_confirmed")
	if err != nil {
		return err
	}
	_, err = d.core.wait(ctx, native.ExtendConfirmed(handle))
	return err
}

// String shows it in a line.
func (d *Delivery) String() string {
	return fmt.Sprintf("%s at %d of %s, attempt %d", d.ID, d.Position, d.Topic, d.Attempt)
}
