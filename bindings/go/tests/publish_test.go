package meshwire_test

import (
	"errors"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

func TestWhatIsPublishedIsReceivedWithAllItsAttributes(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	receipt, err := mesh.Publish(ctx, to, meshwire.JSON(map[string]int{"id": 1}), meshwire.ID("1"), meshwire.Type("order.created"),
		meshwire.Source("/shop"), meshwire.Key("customer-7"), meshwire.Subject("orders/1"),
		meshwire.Extension("count", -7), meshwire.Extension("last", true), meshwire.Extension("raw", []byte{0, 255}))
	fine(t, err)
	if receipt.Position != 1 || receipt.Duplicate {
		t.Fatalf("%+v", receipt)
	}
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	d := must[*meshwire.Delivery](t)(sub.Next(ctx))
	if d.ID != "1" || d.Type != "order.created" || d.Source != "/shop" || d.Key != "customer-7" || d.Subject() != "orders/1" {
		t.Fatalf("%+v", d)
	}
	if d.ContentType() != "application/json" || d.Text() != `{"id":1}` || d.Topic != to || d.Attempt != 1 || d.Position != 1 {
		t.Fatalf("%+v", d)
	}
	for name, wanted := range map[string]string{"count": "-7", "last": "true", "raw": "AP8=", "partitionkey": "customer-7"} {
		if found, ok := d.Attribute(name); !ok || found != wanted {
			t.Errorf("%s is %q", name, found)
		}
	}
	if d.Time().IsZero() || d.Stored().IsZero() || !d.Expires().IsZero() {
		t.Errorf("times: %v %v %v", d.Time(), d.Stored(), d.Expires())
	}
	fine(t, d.AckConfirmed(ctx))
	fine(t, sub.Close())
	fine(t, mesh.Close())
}

func TestATimeBelowAMillisecondIsRoundedAwayFromZero(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	for name, option := range map[string]meshwire.EventOption{
		"ExpiresIn": meshwire.ExpiresIn(-500 * time.Microsecond), "DeliverAfter": meshwire.DeliverAfter(-time.Nanosecond),
	} {
		if _, err := mesh.Publish(ctx, to, "x", option); !errors.Is(err, meshwire.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := mesh.Subscribe(ctx, to, meshwire.Group("g"), meshwire.MaxAge(-time.Microsecond)); !errors.Is(err, meshwire.ErrInvalid) {
		t.Error("MaxAge:", err)
	}
	must[meshwire.Receipt](t)(mesh.Publish(ctx, to, "x", meshwire.ExpiresIn(0), meshwire.DeliverAfter(time.Nanosecond)))
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	if d := must[*meshwire.Delivery](t)(sub.Next(ctx)); !d.Expires().IsZero() || d.Ack() != nil {
		t.Error("0 is never:", d)
	}
}
