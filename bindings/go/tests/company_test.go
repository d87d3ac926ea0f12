package meshwire_test

import (
	"fmt"
	"testing"

	meshwire "github.com/meshwire/meshwire-go"
)

func TestPublishesOfOneGoroutineKeepTheirOrderWhicheverWayTheyCross(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	next := 0
	text := func() string { next++; return fmt.Sprint(next) }
	var pending []*meshwire.Pending
	async := func(options ...meshwire.EventOption) {
		pending = append(pending, must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, to, meshwire.Text(text()), options...)))
	}
	for range 50 {
		async()
		async(meshwire.Type("in.company"))
		async(meshwire.Extension("alone", true))
		async()
		must[meshwire.Receipt](t)(mesh.Publish(ctx, to, text()))
		async()
		for _, result := range mesh.PublishBatch(ctx, to, text(), text()) {
			fine(t, result.Err)
		}
		async()
	}
	fine(t, mesh.Flush(ctx))
	for _, one := range pending {
		if !one.Done() {
			t.Fatal("flush waits for all of them")
		}
	}
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	for at := 1; at <= next; at++ {
		d := must[*meshwire.Delivery](t)(sub.Next(ctx))
		if d.Text() != fmt.Sprint(at) {
			t.Fatalf("%s is at %d", d.Text(), at)
		}
		fine(t, d.Ack())
	}
}

func TestAPublishThatNobodyWaitsForLeavesByItself(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	must[meshwire.Receipt](t)(must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, to, "known")).Receipt(ctx))
	sub := must[*meshwire.Subscription](t)(connect(t).Subscribe(ctx, to, meshwire.Group("g")))
	must[*meshwire.Pending](t)(mesh.PublishAsync(ctx, to, "alone"))
	for _, wanted := range []string{"known", "alone"} {
		d := must[*meshwire.Delivery](t)(sub.Next(ctx))
		if d.Text() != wanted {
			t.Fatal(d)
		}
		fine(t, d.Ack())
	}
}

func TestWhatIsReadWhenItIsAskedForStaysWhenAllHasEnded(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, meshwire.JSON(1), meshwire.Subject("s"), meshwire.DataSchema("https://x/y")))
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	d := must[*meshwire.Delivery](t)(sub.Next(ctx))
	fine(t, d.AckConfirmed(ctx))
	fine(t, sub.Close())
	fine(t, mesh.Close())
	if d.Subject() != "s" || d.DataSchema() != "https://x/y" || d.ContentType() != "application/json" || d.Time().IsZero() {
		t.Errorf("%q %q %q %v", d.Subject(), d.DataSchema(), d.ContentType(), d.Time())
	}
	if empty := (&meshwire.Delivery{}); empty.Subject() != "" || !empty.Time().IsZero() {
		t.Error("one without an event says nothing")
	}
}
