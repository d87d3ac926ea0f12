package meshwire_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

// collect has what the program has forgotten collected, and returns when that was told to whoever wants to know.
func collect(t testing.TB) {
	t.Helper()
	for range 3 {
		told := make(chan struct{})
		runtime.AddCleanup(&struct{ filled [64]byte }{}, func(told chan struct{}) { close(told) }, told)
		runtime.GC()
		select {
		case <-told:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is collected")
		}
	}
}

// stranger is a client that nothing but what it is given to has.
func stranger(t testing.TB) *meshwire.Client {
	t.Helper()
	return must[*meshwire.Client](t)(meshwire.Connect(patience(t), gateway.URL))
}

func TestAClientThatOnlyConsumesIsNotForgotten(t *testing.T) {
	other, to := connect(t), topic(t)
	ctx, stop := context.WithCancel(patience(t))
	defer stop()
	seen, ended := make(chan string, 2), make(chan error, 1)
	go func() {
		ended <- stranger(t).Consume(ctx, to, func(_ context.Context, d *meshwire.Delivery) error {
			seen <- d.Text()
			return nil
		}, meshwire.Group("g"))
	}()
	for _, text := range []string{"first", "second"} {
		must[meshwire.Receipt](t)(other.Publish(ctx, to, text))
		select {
		case got := <-seen:
			if got != text {
				t.Error(got)
			}
		case err := <-ended:
			t.Fatal("it ended by itself:", err)
		}
		collect(t)
	}
	stop()
	fine(t, <-ended)
}

func TestAClientThatOnlyServesIsNotForgotten(t *testing.T) {
	other, to := connect(t), topic(t)
	ctx, stop := context.WithCancel(patience(t))
	defer stop()
	ended := make(chan error, 2)
	go func() {
		ended <- stranger(t).Serve(ctx, to, func(context.Context, *meshwire.Request) (any, error) { return "one", nil })
	}()
	go func() {
		ended <- stranger(t).ServeStream(ctx, to+"-many", func(ctx context.Context, _ *meshwire.Request, replies *meshwire.ReplySender) error {
			return replies.Send(ctx, "one")
		})
	}()
	for _, each := range []string{to, to + "-many"} {
		for ready := false; !ready; {
			_, err := other.Request(ctx, each, "x")
			if ready = err == nil; !ready && !errors.Is(err, meshwire.ErrNoResponders) {
				t.Fatal(err)
			}
		}
	}
	collect(t)
	for _, each := range []string{to, to + "-many"} {
		must[*meshwire.Reply](t)(other.Request(ctx, each, "x"))
	}
	stop()
	fine(t, <-ended)
	fine(t, <-ended)
}

func TestAClientOfWhichOnlyASubscriptionIsKeptIsNotForgotten(t *testing.T) {
	ctx, other, to := patience(t), connect(t), topic(t)
	sub := must[*meshwire.Subscription](t)(stranger(t).Subscribe(ctx, to, meshwire.Group("g")))
	collect(t)
	must[meshwire.Receipt](t)(other.Publish(ctx, to, "x"))
	fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).AckConfirmed(ctx))
	fine(t, sub.Close())
}

func TestWhoeverWaitsKeepsItsSubscriptionAndItsClient(t *testing.T) {
	ctx, other, to := patience(t), connect(t), topic(t)
	waits := map[string]func(*meshwire.Subscription) error{
		"Next": func(sub *meshwire.Subscription) error {
			_, err := sub.Next(ctx)
			return err
		},
		"NextBatch": func(sub *meshwire.Subscription) error {
			_, err := sub.NextBatch(ctx, 8)
			return err
		},
	}
	for name, wait := range waits {
		ended := make(chan error, 1)
		go func(sub *meshwire.Subscription) { ended <- wait(sub) }(must[*meshwire.Subscription](t)(stranger(t).Subscribe(ctx, to)))
		collect(t)
		must[meshwire.Receipt](t)(other.Publish(ctx, to, "x"))
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRepliesKeepTheirClient(t *testing.T) {
	ctx, other, to := patience(t), connect(t), topic(t)
	collected := make(chan struct{})
	go other.ServeStream(ctx, to, func(ctx context.Context, r *meshwire.Request, replies *meshwire.ReplySender) error {
		if r.Text() == "ready?" {
			return nil
		}
		if err := replies.Send(ctx, "one"); err != nil {
			return err
		}
		<-collected
		return replies.Send(ctx, "two")
	})
	for {
		if _, err := other.Request(ctx, to, "ready?"); !errors.Is(err, meshwire.ErrNoResponders) {
			break
		}
	}
	replies := must[*meshwire.Replies](t)(stranger(t).RequestMany(ctx, to, "x", meshwire.RequestTimeout(20*time.Second)))
	must[*meshwire.Reply](t)(replies.Next(ctx))
	collect(t)
	close(collected)
	if reply := must[*meshwire.Reply](t)(replies.Next(ctx)); reply == nil || reply.Text() != "two" {
		t.Error(reply)
	}
	fine(t, replies.Close())
}
