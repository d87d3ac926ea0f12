package meshwire_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
	"github.com/meshwire/meshwire-go/meshwiretest"
)

func TestAHandlersReturnSettlesAndConsumeEndsWithItsContext(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	for _, text := range []string{"good", "again", "later", "never", "panics", "itself"} {
		must[meshwire.Receipt](t)(mesh.Publish(ctx, to, text))
	}
	consuming, stop := context.WithCancel(ctx)
	var mu sync.Mutex
	seen := map[string]int{}
	err := mesh.Consume(consuming, to, func(ctx context.Context, d *meshwire.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		seen[d.Text()]++
		last := len(seen) == 6 && seen["again"] == 2 && seen["later"] == 2 && seen["panics"] == 2
		if last {
			defer stop()
		}
		switch text := d.Text(); {
		case text == "again" && d.Attempt == 1:
			return errors.New("busy")
		case text == "later" && d.Attempt == 1:
			return meshwire.Again(0, nil)
		case text == "never":
			return fmt.Errorf("wrapped: %w", meshwire.Never(errors.New("no such thing")))
		case text == "panics" && d.Attempt == 1:
			panic("planned")
		case text == "itself":
			fine(t, d.Ack())
			if err := d.Ack(); !errors.Is(err, meshwire.ErrInvalid) {
				t.Error(err)
			}
			return errors.New("this is not heard")
		}
		return nil
	}, meshwire.Group("g"), meshwire.Backoff(0, 0), meshwire.Concurrency(4))
	fine(t, err)
	fine(t, mesh.Drain(ctx))
	other, letters := connect(t), 0
	for letter, err := range other.DeadLetters(to, "g").List(ctx) {
		fine(t, err)
		letters++
		if !strings.Contains(letter.Error, "no such thing") {
			t.Errorf("%+v", letter)
		}
	}
	if info := must[meshwire.GroupInfo](t)(other.Groups(to).Get(ctx, "g")); info.SettledThrough.Number() != 6 || letters != 1 {
		t.Errorf("%+v, %d", info, letters)
	}
}

func TestAHandlerThatEndsItsGoroutineHasFailedAndOthersGoOn(t *testing.T) {
	said := &lines{}
	logger := slog.New(slog.NewTextHandler(said, nil))
	ctx, mesh, to := patience(t), connect(t, meshwire.WithLogger(logger)), topic(t)
	publish(t, mesh, to, 3)
	consuming, stop := context.WithCancel(ctx)
	var done atomic.Int32
	fine(t, mesh.Consume(consuming, to, func(ctx context.Context, d *meshwire.Delivery) error {
		if d.Attempt == 1 {
			// As t.FailNow, t.Fatal and t.Skip do.
			runtime.Goexit()
		}
		if done.Add(1) == 3 {
			stop()
		}
		return nil
	}, meshwire.Group("g"), meshwire.Backoff(0, 0)))
	if !strings.Contains(said.String(), "the handler ended its goroutine") {
		t.Error(said)
	}
	serving, end := context.WithCancel(ctx)
	served := make(chan error, 2)
	go func() {
		served <- mesh.Serve(serving, to, func(context.Context, *meshwire.Request) (any, error) { runtime.Goexit(); return nil, nil })
	}()
	go func() {
		served <- mesh.ServeStream(serving, to+"-many", func(context.Context, *meshwire.Request, *meshwire.ReplySender) error {
			runtime.Goexit()
			return nil
		})
	}()
	for _, topic := range []string{to, to + "-many"} {
		err := error(meshwire.ErrNoResponders)
		for errors.Is(err, meshwire.ErrNoResponders) {
			_, err = mesh.Request(ctx, topic, "x")
		}
		if !errors.Is(err, meshwire.ErrResponderFailed) || !strings.Contains(err.Error(), "ended its goroutine") {
			t.Error(err)
		}
	}
	end()
	fine(t, <-served)
	fine(t, <-served)
	fine(t, mesh.Close())
}

func TestHandlersRunAtOnceAndThoseOfOneKeyOneAfterTheOther(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	const keys, each = 4, 25
	for n := range each {
		for key := range keys {
			must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, to, fmt.Sprint(n), meshwire.Key(fmt.Sprint(key))))
		}
	}
	consuming, stop := context.WithCancel(ctx)
	var running, most, done atomic.Int32
	var busy [keys]atomic.Bool
	var last [keys]atomic.Int32
	err := mesh.Consume(consuming, to, func(ctx context.Context, d *meshwire.Delivery) error {
		var key, n int32
		fmt.Sscan(d.Key, &key)
		fmt.Sscan(d.Text(), &n)
		if busy[key].Swap(true) || n < last[key].Swap(n) {
			t.Errorf("%d of %d is out of turn", n, key)
		}
		most.Store(max(most.Load(), running.Add(1)))
		// Others must be able to run meanwhile.
		for wait := time.Now(); most.Load() < 2 && time.Since(wait) < 5*time.Second; {
			time.Sleep(time.Millisecond)
		}
		running.Add(-1)
		busy[key].Store(false)
		if done.Add(1) == keys*each {
			stop()
		}
		return nil
	}, meshwire.Group("g"), meshwire.Concurrency(keys))
	fine(t, err)
	if most.Load() < 2 {
		t.Error("one at a time")
	}
}

func TestAHandlerIsToldWhenTheClientHasEndedWithoutIt(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish(t, mesh, to, 1)
	told := make(chan error, 1)
	err := mesh.Consume(ctx, to, func(lost context.Context, d *meshwire.Delivery) error {
		go mesh.Drain(instantly(t))
		<-lost.Done()
		told <- lost.Err()
		return nil
	}, meshwire.Group("g"))
	if err != nil && !errors.Is(err, meshwire.ErrClosed) {
		t.Error(err)
	}
	if err := <-told; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAHandlerThatIsStuckIsToldThatItsLeaseIsLostAndIsNotHeard(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish(t, mesh, to, 1)
	consuming, stop := context.WithCancel(ctx)
	var told error
	fine(t, mesh.Consume(consuming, to, func(lost context.Context, d *meshwire.Delivery) error {
		if d.Attempt > 1 {
			stop()
			return nil
		}
		// Ten ack waits.
		<-lost.Done()
		told = context.Cause(lost)
		return meshwire.Never(errors.New("this is not heard"))
	}, meshwire.Group("g"), meshwire.AckWait(time.Second), meshwire.Backoff(0, 0)))
	if told == nil || !strings.Contains(told.Error(), "lease") {
		t.Error(told)
	}
	fine(t, mesh.Drain(ctx))
	other := connect(t)
	for letter, err := range other.DeadLetters(to, "g").List(ctx) {
		t.Errorf("%+v %v", letter, err)
	}
	if info := must[meshwire.GroupInfo](t)(other.Groups(to).Get(ctx, "g")); info.SettledThrough.Number() != 1 {
		t.Errorf("%+v", info)
	}
}

func instantly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 0)
	t.Cleanup(cancel)
	return ctx
}

// serving runs a responder until the test ends, and returns when it is there.
func serving(t testing.TB, mesh *meshwire.Client, to string, handler meshwire.RequestHandler) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mesh.Serve(ctx, to, handler, meshwire.Concurrency(8)) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, meshwire.ErrClosed) {
			t.Error(err)
		}
	})
	for {
		if _, err := mesh.Request(patience(t), to, "ready?"); !errors.Is(err, meshwire.ErrNoResponders) {
			return
		}
	}
}

func TestARequestGetsItsReplyOrWhyThereIsNone(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	serving(t, mesh, to, func(ctx context.Context, r *meshwire.Request) (any, error) {
		switch r.Text() {
		case "fail":
			return nil, errors.New("not today")
		case "panic":
			panic("planned")
		case "event":
			return meshwire.Event{Type: "quote.given", Data: meshwire.JSON(42)}, nil
		case "bad":
			return make(chan int), nil
		case "no text":
			return "\xff", nil
		case "no event":
			return meshwire.Event{Type: "a\x00b", Data: meshwire.Text("x")}, nil
		case "large":
			return make([]byte, 64<<20), nil
		}
		return "echo " + r.Text(), nil
	})
	reply := must[*meshwire.Reply](t)(mesh.Request(ctx, to, "hello", meshwire.Type("asked"), meshwire.RequestTimeout(20*time.Second)))
	if reply.Text() != "echo hello" {
		t.Errorf("%+v", reply)
	}
	reply = must[*meshwire.Reply](t)(mesh.Request(ctx, to, "event"))
	var price int
	if fine(t, reply.JSON(&price)); price != 42 || reply.Type != "quote.given" {
		t.Errorf("%+v", reply)
	}
	for _, text := range []string{"fail", "panic", "bad", "no text", "no event", "large"} {
		if _, err := mesh.Request(ctx, to, text, meshwire.RequestTimeout(10*time.Second)); !errors.Is(err, meshwire.ErrResponderFailed) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := reply.JSON(new(string)); !errors.Is(err, meshwire.ErrInvalid) {
		t.Error(err)
	}
}

func TestManyRepliesComeAsTheyAreSentAndLeavingTheLoopTellsTheHandler(t *testing.T) {
	mesh, to := connect(t), topic(t)
	ctx, stop := context.WithCancel(patience(t))
	told, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		ended <- mesh.ServeStream(ctx, to, func(ctx context.Context, r *meshwire.Request, replies *meshwire.ReplySender) error {
			if r.Text() == "ready?" || !r.WantsStream || r.Deadline.IsZero() {
				return nil
			}
			for n := 0; r.Text() == "endless" || n < 100; n++ {
				if err := replies.Send(ctx, fmt.Sprint(n)); err != nil {
					told <- err
					return err
				}
			}
			return nil
		})
	}()
	for {
		if _, err := mesh.Request(ctx, to, "ready?"); !errors.Is(err, meshwire.ErrNoResponders) {
			break
		}
	}
	count := 0
	for reply, err := range mesh.RequestStream(ctx, to, "hundred", meshwire.ReplyCredit(4)) {
		fine(t, err)
		if reply.Text() != fmt.Sprint(count) {
			t.Errorf("%s in place of %d", reply.Text(), count)
		}
		count++
	}
	if count != 100 {
		t.Error(count)
	}
	for range mesh.RequestStream(ctx, to, "endless", meshwire.ReplyCredit(4), meshwire.RequestTimeout(20*time.Second)) {
		break
	}
	if err := <-told; !errors.Is(err, meshwire.ErrCancelled) {
		t.Error(err)
	}
	stop()
	fine(t, <-ended)
	for _, err := range mesh.RequestStream(patience(t), "nobody-streams", "x") {
		if !errors.Is(err, meshwire.ErrNoResponders) {
			t.Error(err)
		}
	}
}

func TestACancelledRequestIsTheContextsErrorAndTheHandlerIsTold(t *testing.T) {
	mesh, to := connect(t), topic(t)
	told := make(chan struct{}, 1)
	serving(t, mesh, to, func(ctx context.Context, r *meshwire.Request) (any, error) {
		if r.Text() == "wait" {
			<-ctx.Done()
			told <- struct{}{}
		}
		return nil, nil
	})
	soon, cancel := context.WithTimeout(patience(t), 50*time.Millisecond)
	defer cancel()
	_, err := mesh.Request(soon, to, "wait")
	var e *meshwire.Error
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || e.Retry != meshwire.RetryUnknownOutcome {
		t.Error(err)
	}
	<-told
}

func TestAGatewayThatDiesInTheMiddleIsAnErrorOrAReconnectAndNeverAHang(t *testing.T) {
	dying := meshwiretest.Start(t)
	ctx, to := patience(t), topic(t)
	mesh := must[*meshwire.Client](t)(meshwire.Connect(ctx, dying.URL))
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	ended := make(chan error, 8)
	work, stop := context.WithCancel(ctx)
	go func() {
		for {
			if _, err := mesh.Publish(work, to, "x"); err != nil {
				ended <- err
				return
			}
		}
	}()
	go func() {
		for d, err := range sub.All(work) {
			if err != nil {
				ended <- err
				return
			}
			d.Ack()
		}
		ended <- nil
	}()
	go func() {
		_, err := mesh.Request(work, to, "x", meshwire.RequestTimeout(time.Minute))
		ended <- err
	}()
	go func() {
		ended <- mesh.Consume(work, to, func(context.Context, *meshwire.Delivery) error { return nil }, meshwire.Group("h"))
	}()
	for must[meshwire.Stats](t)(mesh.Stats()).Published < 100 {
		time.Sleep(time.Millisecond)
	}
	dying.Kill()
	for state := range mesh.States(ctx) {
		if state == meshwire.StateReconnecting {
			break
		}
	}
	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := mesh.Topics().Get(soon, to); !errors.Is(err, meshwire.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	stop()
	for range 4 {
		err := <-ended
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, meshwire.ErrNoResponders) && !errors.Is(err, meshwire.ErrUnavailable) {
			t.Error(err)
		}
	}
	mesh.Drain(instantly(t))
}

func TestAHandlerThatWouldWaitForItselfIsToldSoAtOnce(t *testing.T) {
	ctx, mesh, other, to := patience(t), connect(t), connect(t), topic(t)
	ends := func(from string) {
		for _, end := range []func() error{mesh.Close, func() error { return mesh.Drain(ctx) }} {
			if err := end(); !errors.Is(err, meshwire.ErrInvalid) || !strings.Contains(err.Error(), "would wait for itself") {
				t.Errorf("%s: %v", from, err)
			}
		}
	}
	serving(t, mesh, to, func(context.Context, *meshwire.Request) (any, error) {
		ends("serve")
		return nil, nil
	})
	publish(t, mesh, to, 3)
	consuming, stop := context.WithCancel(ctx)
	var handled atomic.Int32
	fine(t, mesh.Consume(consuming, to, func(ctx context.Context, d *meshwire.Delivery) error {
		ends("consume")
		// One may end another client, and that client's handler not its own.
		if handled.Add(1) == 1 {
			inner, end := context.WithCancel(ctx)
			return other.Consume(inner, to, func(context.Context, *meshwire.Delivery) error {
				end()
				if err := other.Close(); !errors.Is(err, meshwire.ErrInvalid) {
					t.Error(err)
				}
				return nil
			}, meshwire.Group("h"))
		}
		if handled.Load() == 3 {
			fine(t, other.Close())
			stop()
		}
		return nil
	}, meshwire.Group("g")))
	fine(t, mesh.Close())
}
