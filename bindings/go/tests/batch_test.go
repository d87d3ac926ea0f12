package meshwire_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	meshwire "github.com/meshwire/meshwire-go"
	"github.com/meshwire/meshwire-go/meshwiretest"
)

func TestABatchHasAResultForEachEventAndWhatIsWrongWithOneIsItsOwn(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	once := meshwire.Event{ID: "once", Data: meshwire.Text("x")}
	results := mesh.PublishBatch(ctx, to, once, meshwire.Event{Extensions: map[string]any{"Bad": "x"}},
		meshwire.JSON(func() {}), meshwire.Event{Extensions: map[string]any{"wrong": 1.5}}, once, []byte("bytes"), map[string]int{"n": 1})
	for at, wanted := range []error{nil, meshwire.ErrInvalid, meshwire.ErrInvalid, meshwire.ErrInvalid, nil, nil, nil} {
		if !errors.Is(results[at].Err, wanted) {
			t.Errorf("result %d: %v", at, results[at])
		}
	}
	if results[0].Receipt.Position != 1 || !results[4].Receipt.Duplicate || results[6].Receipt.Position != 3 {
		t.Errorf("%+v", results)
	}
	if none := mesh.PublishBatch(ctx, to); len(none) != 0 {
		t.Errorf("%+v", none)
	}
	for _, result := range mesh.PublishBatch(ctx, "no topic!", once, once) {
		if !errors.Is(result.Err, meshwire.ErrInvalid) {
			t.Errorf("%+v", result)
		}
	}
}

func TestManyPublishesAreOnTheirWayAtOnceAndEachHasItsReceipt(t *testing.T) {
	const many = 30_000
	ctx, mesh, to := patience(t), connect(t), topic(t)
	all := make([]*meshwire.Pending, many)
	for at := range all {
		all[at] = must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, to, meshwire.Bytes([]byte("x"))))
	}
	fine(t, mesh.Flush(ctx))
	for at, pending := range all {
		if receipt := must[meshwire.Receipt](t)(pending.Receipt(ctx)); receipt.Position != uint64(at+1) {
			t.Fatalf("%d is at %d", at, receipt.Position)
		}
		if !pending.Done() {
			t.Fatal("it is done")
		}
	}
}

func TestFlushTellsOfPublishesThatFailedAndThatNobodyAskedFor(t *testing.T) {
	dying := meshwiretest.Start(t)
	ctx, to := patience(t), topic(t)
	mesh := must[*meshwire.Client](t)(meshwire.Connect(ctx, dying.URL, meshwire.Offline(""), meshwire.Option("offline_max_age", "1s")))
	dying.Kill()
	for state := range mesh.States(ctx) {
		if state != meshwire.StateConnected {
			break
		}
	}
	for range 3 {
		must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, to, "x"))
	}
	asked := must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, to, "x"))
	if _, err := asked.Receipt(ctx); !errors.Is(err, meshwire.ErrTimeout) {
		t.Error(err)
	}
	err := mesh.Flush(ctx)
	if !errors.Is(err, meshwire.ErrTimeout) || strings.Count(err.Error(), "TIMEOUT") != 3 {
		t.Error(err)
	}
	fine(t, mesh.Flush(ctx))
	mesh.Drain(instantly(t))
}

func TestASmallWindowHoldsPublishersBackAndLosesNothing(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t, meshwire.PublishWindow(4, 1<<20)), topic(t)
	for range 500 {
		must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, to, "x"))
	}
	fine(t, mesh.Flush(ctx))
	if info := must[meshwire.Topic](t)(mesh.Topics().Get(ctx, to)); info.Next.Number() != 501 {
		t.Fatalf("%+v", info)
	}
}

func TestManyGoroutinesPublishAtOnceAndEachGetsItsOwnReceipt(t *testing.T) {
	const goroutines, each = 200, 50
	ctx, mesh, to := patience(t), connect(t), topic(t)
	var wait sync.WaitGroup
	var mu sync.Mutex
	seen := map[uint64]bool{}
	for g := range goroutines {
		wait.Add(1)
		go func() {
			defer wait.Done()
			last := uint64(0)
			for n := range each {
				receipt, err := mesh.Publish(ctx, to, fmt.Sprint(g, n))
				if err != nil || receipt.Position <= last {
					t.Errorf("%v %v", receipt, err)
					return
				}
				last = receipt.Position
				mu.Lock()
				seen[last] = true
				mu.Unlock()
			}
		}()
	}
	wait.Wait()
	if len(seen) != goroutines*each {
		t.Errorf("%d receipts", len(seen))
	}
}

func TestEmptyAndLargeDataComeAsTheyWere(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	large := make([]byte, 4<<20-8192)
	for at := range large {
		large[at] = byte(at * 31)
	}
	for _, data := range []any{nil, meshwire.Bytes(nil), []byte("a\x00b"), "", large, "größe 🎉"} {
		if _, err := mesh.Publish(ctx, to, data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := mesh.Publish(ctx, to, make([]byte, 64<<20)); !errors.Is(err, meshwire.ErrTooLarge) {
		t.Fatal(err)
	}
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	for at, wanted := range []string{"", "", "a\x00b", "", string(large), "größe 🎉"} {
		d := must[*meshwire.Delivery](t)(sub.Next(ctx))
		if d.Text() != wanted {
			t.Errorf("%d has %d bytes", at, len(d.Data))
		}
		fine(t, d.Ack())
	}
}

func TestPublishWithAContextThatHasEndedDoesNotBegin(t *testing.T) {
	mesh, to := connect(t), topic(t)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := mesh.Publish(ended, to, "x")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, meshwire.ErrCancelled) {
		t.Error(err)
	}
	if _, err := mesh.PublishAsync(ended, to, "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if results := mesh.PublishBatch(ended, to, "x"); !errors.Is(results[0].Err, context.Canceled) {
		t.Error(results)
	}
}
