package meshwire_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

func publish(t testing.TB, mesh *meshwire.Client, to string, count int) {
	t.Helper()
	items := make([]any, count)
	for at := range items {
		items[at] = meshwire.Event{ID: fmt.Sprint(at + 1), Data: meshwire.Text(fmt.Sprint(at + 1))}
	}
	for _, result := range mesh.PublishBatch(patience(t), to, items...) {
		fine(t, result.Err)
	}
}

func TestALoopGetsEachEventOnceInOrderAndItsAcksHold(t *testing.T) {
	const many = 5_000
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish(t, mesh, to, many)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	next := 1
	for d, err := range sub.All(ctx) {
		fine(t, err)
		if d.ID != fmt.Sprint(next) || d.Attempt != 1 {
			t.Fatalf("%s in place of %d", d, next)
		}
		fine(t, d.Ack())
		if next++; next > many {
			break
		}
	}
	if _, err := sub.Next(ctx); !errors.Is(err, meshwire.ErrClosed) {
		t.Error("leaving the loop closes the subscription:", err)
	}
	fine(t, mesh.Drain(ctx))
	other := connect(t)
	for {
		info := must[meshwire.GroupInfo](t)(other.Groups(to).Get(ctx, "g"))
		if info.SettledThrough.Number() == many && info.InFlight == 0 {
			break
		}
		runtime.Gosched()
	}
}

func TestWhatALoopHasInHandWhenItIsLeftHasFailed(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish(t, mesh, to, 3)
	for attempt := uint32(1); attempt <= 2; attempt++ {
		sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g"), meshwire.Backoff(0, 0)))
		for d, err := range sub.All(ctx) {
			fine(t, err)
			if d.ID == "1" {
				// It may have come once more before the other subscription had ended.
				if uint32(d.Attempt) < attempt {
					t.Errorf("attempt %d in place of %d", d.Attempt, attempt)
				}
				break
			}
			fine(t, d.Ack())
		}
		if info := must[meshwire.GroupInfo](t)(mesh.Groups(to).Get(ctx, "g")); info.Failing != 1 {
			t.Errorf("%+v", info)
		}
	}
}

func TestWhatALoopWasNotHandedComesAgainAtOnceAndHasNotFailed(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish(t, mesh, to, 300)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	taken := 0
	for d, err := range sub.All(ctx) {
		fine(t, err)
		fine(t, d.Ack())
		if taken++; taken == 100 {
			break
		}
	}
	sub = must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	if info := must[meshwire.GroupInfo](t)(mesh.Groups(to).Get(ctx, "g")); info.Failing != 0 {
		t.Errorf("%+v", info)
	}
	for d, err := range sub.All(ctx) {
		fine(t, err)
		if taken++; d.ID != fmt.Sprint(taken) {
			t.Fatalf("%s in place of %d", d, taken)
		}
		fine(t, d.Ack())
		if taken == 300 {
			break
		}
	}
}

func TestADeliveryIsSettledOnceAndSaysSoTheSecondTime(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish(t, mesh, to, 4)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g"), meshwire.Backoff(0, 0)))
	batch := must[[]*meshwire.Delivery](t)(sub.NextBatch(ctx, 4))
	for len(batch) < 4 {
		batch = append(batch, must[*meshwire.Delivery](t)(sub.Next(ctx)))
	}
	fine(t, batch[0].Ack())
	fine(t, batch[1].NackAfter(0))
	fine(t, batch[2].Reject("no such thing"))
	fine(t, batch[3].Extend())
	fine(t, batch[3].ExtendConfirmed(ctx))
	fine(t, batch[3].AckConfirmed(ctx))
	for _, d := range batch {
		for at, err := range []error{
			d.Ack(), d.Nack(), d.NackAfter(time.Second), d.Reject(""), d.Extend(), d.AckConfirmed(ctx), d.ExtendConfirmed(ctx),
		} {
			if !errors.Is(err, meshwire.ErrInvalid) {
				t.Errorf("%d of %s: %v", at, d, err)
			}
		}
	}
	if d := must[*meshwire.Delivery](t)(sub.Next(ctx)); d.ID != "2" || d.Attempt != 2 || d.NackConfirmed(ctx) != nil {
		t.Errorf("%s", d)
	}
	for letter, err := range mesh.DeadLetters(to, "g").List(ctx) {
		fine(t, err)
		if letter.Error != "no such thing" || letter.Reason != "rejected" || !strings.Contains(string(letter.Event), `"id":"3"`) {
			t.Errorf("%+v %s", letter, letter.Event)
		}
	}
	if err := (&meshwire.Delivery{}).Ack(); !errors.Is(err, meshwire.ErrInvalid) {
		t.Error(err)
	}
}

func TestAcksArriveSoonWithoutAnythingElseBeingDone(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish(t, mesh, to, 1)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).Ack())
	for must[meshwire.GroupInfo](t)(mesh.Groups(to).Get(ctx, "g")).SettledThrough.Number() != 1 {
		runtime.Gosched()
	}
}

func TestWhatTheProgramForgetsIsLetGoOf(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish(t, mesh, to, 10)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g"), meshwire.AckWait(time.Second)))
	for range 10 {
		must[*meshwire.Delivery](t)(sub.Next(ctx))
	}
	runtime.GC()
	d := must[*meshwire.Delivery](t)(sub.Next(ctx))
	if d.Attempt != 2 {
		t.Error(d)
	}
	fine(t, sub.Close())
}

func TestASubscriptionWithoutAGroupBeginsWithWhatIsPublishedFromNowOn(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish(t, mesh, to, 3)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to))
	fromStart := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.StartEarliest()))
	fromTwo := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.StartAt(2)))
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "new", meshwire.ID("new")))
	for sub, wanted := range map[*meshwire.Subscription]string{sub: "new", fromStart: "1", fromTwo: "2"} {
		if d := must[*meshwire.Delivery](t)(sub.Next(ctx)); d.ID != wanted || d.Ack() != nil {
			t.Errorf("%s in place of %s", d, wanted)
		}
	}
}

func TestCloseEndsALoopThatWaitsAndTheClientEndsAllOfThem(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	first := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to))
	second := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to))
	ended := make(chan error, 2)
	wait := func(sub *meshwire.Subscription) {
		for _, err := range sub.All(ctx) {
			ended <- err
			return
		}
		ended <- nil
	}
	go wait(first)
	fine(t, first.Close())
	fine(t, <-ended)
	go wait(second)
	fine(t, mesh.Close())
	if err := <-ended; err != nil && !errors.Is(err, meshwire.ErrClosed) {
		t.Error(err)
	}
}

func TestDelayedEventsComeInTheirTimeAndExpiredOnesNever(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	began := time.Now()
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "late", meshwire.DeliverAfter(300*time.Millisecond)))
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "expiring", meshwire.ExpiresIn(time.Hour)))
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	first := must[*meshwire.Delivery](t)(sub.Next(ctx))
	second := must[*meshwire.Delivery](t)(sub.Next(ctx))
	if first.Text() != "expiring" || first.Expires().IsZero() || second.Text() != "late" || time.Since(began) < 300*time.Millisecond {
		t.Errorf("%s %s", first, second)
	}
}

func TestALoopEndsWithItsContext(t *testing.T) {
	mesh, to := connect(t), topic(t)
	ctx, cancel := context.WithCancel(patience(t))
	defer cancel()
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	publish(t, mesh, to, 1)
	count := 0
	for d, err := range sub.All(ctx) {
		if err != nil {
			if !errors.Is(err, context.Canceled) || count != 1 {
				t.Error(err, count)
			}
			continue
		}
		count++
		fine(t, d.Ack())
		cancel()
	}
}

func TestWhatIsBufferedIsNotHandedOutWhenTheContextHasEndedAndComesAgainUnblamed(t *testing.T) {
	mesh, to := connect(t), topic(t)
	publish(t, mesh, to, 20)
	patient := patience(t)
	ctx, cancel := context.WithCancel(patient)
	defer cancel()
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(patient, to, meshwire.Group("g")))
	handed, last := 0, error(nil)
	for d, err := range sub.All(ctx) {
		if last = err; err != nil {
			continue
		}
		handed++
		fine(t, d.Ack())
		cancel()
	}
	if handed != 1 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d were handed out, and then: %v", handed, last)
	}
	sub = must[*meshwire.Subscription](t)(mesh.Subscribe(patient, to, meshwire.Group("g")))
	if d := must[*meshwire.Delivery](t)(sub.Next(patient)); d.ID != "2" || d.Ack() != nil {
		t.Error(d)
	}
	if d, err := sub.Next(ctx); d != nil || !errors.Is(err, context.Canceled) {
		t.Error(d, err)
	}
	if batch, err := sub.NextBatch(ctx, 5); batch != nil || !errors.Is(err, meshwire.ErrCancelled) {
		t.Error(batch, err)
	}
	if d := must[*meshwire.Delivery](t)(sub.Next(patient)); d.ID != "3" || d.Ack() != nil {
		t.Error("what was not handed out is there for the next one:", d)
	}
	if info := must[meshwire.GroupInfo](t)(mesh.Groups(to).Get(patient, "g")); info.Failing != 0 {
		t.Errorf("%+v", info)
	}
}

// watched is a context that says when a call has begun to wait for its end.
type watched struct {
	context.Context
	once  *sync.Once
	waits chan struct{}
}

func (w watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waits) })
	return w.Context.Done()
}

func TestAReceiverThatWaitsForAnotherOneEndsWithItsOwnContextAndWithTheSubscription(t *testing.T) {
	mesh, to := connect(t), topic(t)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(patience(t), to, meshwire.Group("g")))
	receive := func() (context.CancelFunc, <-chan struct{}, <-chan error) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		t.Cleanup(cancel)
		seen, ended := watched{ctx, new(sync.Once), make(chan struct{})}, make(chan error, 1)
		go func() {
			_, err := sub.Next(seen)
			ended <- err
		}()
		return cancel, seen.waits, ended
	}
	_, waits, first := receive()
	<-waits
	for name, call := range map[string]func(context.Context) error{
		"Next":      func(ctx context.Context) error { _, err := sub.Next(ctx); return err },
		"NextBatch": func(ctx context.Context) error { _, err := sub.NextBatch(ctx, 10); return err },
	} {
		soon, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := call(soon); !errors.Is(err, meshwire.ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cancel, waits, second := receive()
	<-waits
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_, waits, second = receive()
	<-waits
	if len(first) > 0 {
		t.Fatal("the first one waits as before:", <-first)
	}
	fine(t, sub.Close())
	for _, ended := range []<-chan error{first, second} {
		if err := <-ended; !errors.Is(err, meshwire.ErrClosed) {
			t.Error(err)
		}
	}
}
