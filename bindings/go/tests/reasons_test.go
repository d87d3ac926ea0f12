package meshwire_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	meshwire "github.com/meshwire/meshwire-go"
)

// unfit are texts that are not those of the library: not UTF-8, with a NUL, and very long.
var unfit = []string{"cannot parse \xff\xfe", "a\x00b", strings.Repeat("long ", 100_000)}

func TestAHandlersErrorMayHaveAnyText(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	for _, text := range unfit {
		must[meshwire.Receipt](t)(mesh.Publish(ctx, to, meshwire.Bytes([]byte(text))))
	}
	consuming, stop := context.WithCancel(ctx)
	again := 0
	fine(t, mesh.Consume(consuming, to, func(ctx context.Context, d *meshwire.Delivery) error {
		if d.Attempt == 1 {
			return fmt.Errorf("failed: %s", d.Data)
		}
		if again++; again == len(unfit) {
			stop()
		}
		return meshwire.Never(errors.New(d.Text()))
	}, meshwire.Group("g"), meshwire.Backoff(0, 0)))
	fine(t, mesh.Drain(ctx))
	letters := 0
	for letter, err := range connect(t).DeadLetters(to, "g").List(ctx) {
		fine(t, err)
		letters++
		if text := letter.Error; !strings.Contains(text, "cannot parse \uFFFD") && text != "a\uFFFDb" && !strings.HasPrefix(text, "long long") {
			t.Errorf("%q", text)
		}
	}
	if letters != len(unfit) {
		t.Error(letters)
	}
}

func TestARejectionMayHaveAnyReason(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	publish(t, mesh, to, 2*len(unfit))
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	for _, text := range unfit {
		fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).Reject(text))
		fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).RejectConfirmed(ctx, text))
	}
	fine(t, mesh.Drain(ctx))
	letters := 0
	for letter, err := range connect(t).DeadLetters(to, "g").List(ctx) {
		fine(t, err)
		if letters++; letter.Error == "" {
			t.Errorf("%+v", letter)
		}
	}
	if letters != 2*len(unfit) {
		t.Error(letters)
	}
}

func TestARequestMayFailWithAnyText(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	serving(t, mesh, to, func(ctx context.Context, r *meshwire.Request) (any, error) { return nil, errors.New(string(r.Data)) })
	for _, text := range unfit {
		if _, err := mesh.Request(ctx, to, meshwire.Bytes([]byte(text))); !errors.Is(err, meshwire.ErrResponderFailed) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}
