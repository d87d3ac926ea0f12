package meshwire_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

func TestWithoutAGatewayConnectFailsAtOnceAndSaysHowToStartOne(t *testing.T) {
	began := time.Now()
	_, err := meshwire.Connect(patience(t), "mesh://127.0.0.1:1")
	var e *meshwire.Error
	if !errors.As(err, &e) || e.Code != meshwire.CodeUnavailable || e.Operation != "connect" || !e.Retryable {
		t.Fatalf("%+v", err)
	}
	if !strings.Contains(err.Error(), "meshwire serve") || time.Since(began) > 4*time.Second {
		t.Fatal(err)
	}
}

func TestAnErrorIsOfItsKindAndOfTheHostsOwn(t *testing.T) {
	ctx, mesh := patience(t), connect(t)
	_, err := mesh.Topics().Get(ctx, "absent")
	if !errors.Is(err, meshwire.ErrTopicNotFound) || !errors.Is(err, fs.ErrNotExist) || errors.Is(err, meshwire.ErrInvalid) {
		t.Error(err)
	}
	var e *meshwire.Error
	if !errors.As(err, &e) || e.Number != 6 || e.Context["topic"] != "absent" || e.Retry != meshwire.RetryNever || e.Retryable {
		t.Errorf("%+v", e)
	}
	if _, err = mesh.Request(ctx, "nobody", "x"); !errors.Is(err, meshwire.ErrNoResponders) {
		t.Error(err)
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	go mesh.Serve(serving, "slow", func(ctx context.Context, _ *meshwire.Request) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	for {
		_, err = mesh.Request(ctx, "slow", "x", meshwire.RequestTimeout(100*time.Millisecond))
		if !errors.Is(err, meshwire.ErrNoResponders) {
			break
		}
	}
	if !errors.Is(err, meshwire.ErrTimeout) || !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	var said strings.Builder
	slog.New(slog.NewTextHandler(&said, nil)).Error("failed", "err", err)
	if !strings.Contains(said.String(), "err.code=TIMEOUT") || !strings.Contains(said.String(), "err.operation=request") {
		t.Error(said.String())
	}
}

func TestWhatTheContextEndedIsTheContextsErrorAndOurs(t *testing.T) {
	mesh, to := connect(t), topic(t)
	soon, cancel := context.WithTimeout(patience(t), 50*time.Millisecond)
	defer cancel()
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(patience(t), to))
	_, err := sub.Next(soon)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, meshwire.ErrCancelled) {
		t.Error(err)
	}
	why := errors.New("the user went away")
	gone, leave := context.WithCancelCause(patience(t))
	time.AfterFunc(20*time.Millisecond, func() { leave(why) })
	for _, err := range sub.All(gone) {
		if !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
			t.Error(err)
		}
	}
}

func TestWhatIsWrongIsAnErrorThatSaysWhat(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish := func(to string, data any, options ...meshwire.EventOption) error {
		_, err := mesh.Publish(ctx, to, data, options...)
		if _, async := mesh.PublishAsync(ctx, to, data, options...); (async == nil) != (err == nil) {
			t.Errorf("%v, and %v", err, async)
		}
		return err
	}
	for text, err := range map[string]error{
		"topic":        publish("no topic!", "x"),
		"nul in topic": publish("a\x00b", "x"),
		"topic utf":    publish("\xff", "x"),
		"nul":          publish(to, "x", meshwire.Type("a\x00b")),
		"utf":          publish(to, "x", meshwire.Subject("\xff")),
		"text utf":     publish(to, "\xff"),
		"name":         publish(to, "x", meshwire.Extension("Upper", "x")),
		"own place":    publish(to, "x", meshwire.Extension("id", "x")),
		"kind":         publish(to, "x", meshwire.Extension("half", 0.5)),
		"integer":      publish(to, "x", meshwire.Extension("large", math.MaxInt64)),
		"integer 32":   publish(to, "x", meshwire.Extension("large", int64(math.MinInt32)-1)),
		"json":         publish(to, meshwire.JSON(make(chan int))),
		"value":        publish(to, make(chan int)),
		"both":         publish(to, "x", meshwire.DeliverAfter(time.Second), meshwire.DeliverAt(time.Now())),
		"negative":     publish(to, "x", meshwire.ExpiresIn(-time.Second)),
	} {
		if !errors.Is(err, meshwire.ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
	fine(t, publish(to, "x", meshwire.Extension("small", math.MinInt32), meshwire.Extension("large", math.MaxInt32)))
	_, err := meshwire.Connect(ctx, gateway.URL, meshwire.Option("colour", "red"))
	if !errors.Is(err, meshwire.ErrInvalid) || !strings.Contains(err.Error(), "colour") {
		t.Error(err)
	}
	for _, option := range []meshwire.ConnectOption{
		meshwire.ClientName("a\nurl=x"), meshwire.ClientName("a\x00"), meshwire.ConnectTimeout(-time.Second), meshwire.PublishWindow(0, 0),
	} {
		if other, err := meshwire.Connect(ctx, gateway.URL, option); !errors.Is(err, meshwire.ErrInvalid) {
			t.Errorf("%v %v", other, err)
		}
	}
	if _, err := meshwire.Connect(ctx, "a\x00b"); !errors.Is(err, meshwire.ErrInvalid) {
		t.Error(err)
	}
	for _, option := range []meshwire.SubscribeOption{
		meshwire.AckWait(0), meshwire.MaxRate(-1), meshwire.Prefetch(-1, 1), meshwire.Option("start", "never"), meshwire.Group("a/b\x00"),
	} {
		if sub, err := mesh.Subscribe(ctx, to, meshwire.Group("g"), option); !errors.Is(err, meshwire.ErrInvalid) {
			t.Errorf("%v %v", sub, err)
		}
	}
	if err := mesh.Consume(ctx, to, nil); !errors.Is(err, meshwire.ErrInvalid) {
		t.Error(err)
	}
	handler := func(context.Context, *meshwire.Delivery) error { return nil }
	if err := mesh.Consume(ctx, to, handler, meshwire.Concurrency(0)); !errors.Is(err, meshwire.ErrInvalid) {
		t.Error(err)
	}
	if err := mesh.Serve(ctx, to, nil); !errors.Is(err, meshwire.ErrInvalid) {
		t.Error(err)
	}
}

func TestAfterCloseEveryCallSaysThatTheClientIsClosed(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "x"))
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	d := must[*meshwire.Delivery](t)(sub.Next(ctx))
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := mesh.Drain(soon); !errors.Is(err, meshwire.ErrTimeout) {
		t.Error("a delivery was unsettled:", err)
	}
	if err := mesh.Close(); !errors.Is(err, meshwire.ErrTimeout) {
		t.Error("closing again gives the same:", err)
	}
	_, publish := mesh.Publish(ctx, to, "x")
	_, async := mesh.PublishAsync(ctx, to, "x")
	_, subscribe := mesh.Subscribe(ctx, to)
	_, request := mesh.Request(ctx, to, "x")
	_, stats := mesh.Stats()
	_, admin := mesh.Topics().Get(ctx, to)
	_, next := sub.Next(ctx)
	var stream, listed error
	for _, err := range mesh.RequestStream(ctx, to, "x") {
		stream = err
	}
	for _, err := range mesh.Topics().List(ctx) {
		listed = err
	}
	handler := func(context.Context, *meshwire.Delivery) error { return nil }
	answer := func(context.Context, *meshwire.Request) (any, error) { return nil, nil }
	for at, err := range []error{
		publish, async, subscribe, request, stats, admin, next, stream, listed, mesh.Flush(ctx), mesh.Connected(ctx),
		mesh.PublishBatch(ctx, to, "x")[0].Err, mesh.Consume(ctx, to, handler), mesh.Serve(ctx, to, answer), d.Ack(),
	} {
		if !errors.Is(err, meshwire.ErrClosed) || !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%d: %v", at, err)
		}
	}
	if d.Text() != "x" || mesh.State() != meshwire.StateClosed {
		t.Error("what was received stays")
	}
	for state := range mesh.States(ctx) {
		if state != meshwire.StateClosed {
			t.Error(state)
		}
	}
	fine(t, sub.Close())
}
