package meshwire_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

func TestHooksSeeAndAddToWhatIsPublishedAndDelivered(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	say := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, text)
	}
	mesh, ctx, to := connect(t, meshwire.WithHooks(meshwire.Hooks{
		OnPublish: func(ctx context.Context, topic string, e *meshwire.Event) error {
			if e.Get("subject") == "secret" {
				return errors.New("not this one")
			}
			e.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			say("publish " + topic)
			return nil
		},
		OnDelivery: func(d *meshwire.Delivery) { say("delivery " + d.ID) },
		OnSettle:   func(d *meshwire.Delivery, how string) { say(how + " " + d.ID) },
	})), patience(t), topic(t)
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "x", meshwire.ID("1")))
	_, err := mesh.Publish(ctx, to, "x", meshwire.Subject("secret"))
	if !errors.Is(err, meshwire.ErrInvalid) || !strings.Contains(err.Error(), "not this one") {
		t.Error(err)
	}
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	d := must[*meshwire.Delivery](t)(sub.Next(ctx))
	if trace, ok := d.Attribute("traceparent"); !ok || !strings.HasPrefix(trace, "00-") {
		t.Error(trace)
	}
	fine(t, d.AckConfirmed(ctx))
	// Its words are those of every language.
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "x", meshwire.ID("2")))
	fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).NackAfter(time.Hour))
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "x", meshwire.ID("3")))
	fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).Forget())
	wanted := fmt.Sprint([]string{
		"publish " + to, "delivery 1", "ack 1", "publish " + to, "delivery 2", "nack 2", "publish " + to, "delivery 3", "dropped 3",
	})
	if mu.Lock(); fmt.Sprint(seen) != wanted {
		t.Error(seen)
	}
	mu.Unlock()
}

func TestHooksSeeWhatAHandlerSettlesItself(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	mesh, ctx, to := connect(t, meshwire.WithHooks(meshwire.Hooks{
		OnSettle: func(d *meshwire.Delivery, how string) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, how+" "+d.Text())
		},
	})), patience(t), topic(t)
	texts := []string{"ack", "nack", "later", "reject", "error", "fine"}
	for _, text := range texts {
		must[meshwire.Receipt](t)(mesh.Publish(ctx, to, text))
	}
	consuming, stop := context.WithCancel(ctx)
	handled := 0
	fine(t, mesh.Consume(consuming, to, func(ctx context.Context, d *meshwire.Delivery) error {
		if handled++; handled == len(texts) {
			stop()
		}
		switch d.Text() {
		case "ack":
			return d.Ack()
		case "nack":
			return d.Nack()
		case "later":
			return d.NackAfter(time.Hour)
		case "reject":
			return d.Reject("no")
		case "error":
			return errors.New("no")
		}
		return nil
	}, meshwire.Group("g"), meshwire.Backoff(time.Hour, time.Hour)))
	if mu.Lock(); fmt.Sprint(seen) != "[ack ack nack nack nack later reject reject nack error ack fine]" {
		t.Error(seen)
	}
	mu.Unlock()
}

func TestAHookMayCloseItsSubscription(t *testing.T) {
	closes := make(chan *meshwire.Subscription, 1)
	mesh, ctx, to := connect(t, meshwire.WithHooks(meshwire.Hooks{
		OnDelivery: func(*meshwire.Delivery) {
			select {
			case sub := <-closes:
				sub.Close()
			default:
			}
		},
	})), patience(t), topic(t)
	publish(t, mesh, to, 3)
	for _, most := range []int{1, 3} {
		sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
		closes <- sub
		for _, d := range must[[]*meshwire.Delivery](t)(sub.NextBatch(ctx, most)) {
			fine(t, d.Ack())
		}
		if _, err := sub.Next(ctx); !errors.Is(err, meshwire.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestAHookThatPanicsIsLoggedAndEndsNothing(t *testing.T) {
	said := &lines{}
	mesh, ctx, to := connect(t, meshwire.WithLogger(slog.New(slog.NewTextHandler(said, nil))), meshwire.WithHooks(meshwire.Hooks{
		OnPublish: func(_ context.Context, _ string, e *meshwire.Event) error {
			if e.ID == "bad" {
				panic("planned at publish")
			}
			return nil
		},
		OnDelivery: func(*meshwire.Delivery) { panic("planned at delivery") },
		OnSettle:   func(*meshwire.Delivery, string) { panic("planned at settle") },
	})), patience(t), topic(t)
	if _, err := mesh.Publish(ctx, to, "x", meshwire.ID("bad")); !errors.Is(err, meshwire.ErrInvalid) {
		t.Error(err)
	}
	publish(t, mesh, to, 2)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).AckConfirmed(ctx))
	fine(t, sub.Close())
	consuming, stop := context.WithCancel(ctx)
	fine(t, mesh.Consume(consuming, to, func(ctx context.Context, d *meshwire.Delivery) error {
		stop()
		return nil
	}, meshwire.Group("g")))
	for _, where := range []string{"publish", "delivery", "settle"} {
		if !strings.Contains(said.String(), "planned at "+where) {
			t.Error(said)
		}
	}
}
