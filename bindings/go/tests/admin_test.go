package meshwire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

func TestEverythingIsAdministered(t *testing.T) {
	ctx, mesh, to := patience(t), connect(t), topic(t)
	made := must[meshwire.Topic](t)(mesh.Topics().Create(ctx, to, meshwire.TopicSettings{Durability: "memory", Retention: meshwire.Span(time.Hour)}))
	if made.Name != to || made.Retention.Duration() != time.Hour || made.Durability != "memory" {
		t.Errorf("%+v", made)
	}
	if _, err := mesh.Topics().Create(ctx, to, meshwire.TopicSettings{Durability: "synced"}); !errors.Is(err, meshwire.ErrAlreadyExists) {
		t.Error(err)
	}
	must[meshwire.Topic](t)(mesh.Topics().Update(ctx, to, meshwire.TopicSettings{RetentionBytes: meshwire.Ptr(int64(1 << 20))}))
	groups := mesh.Groups(to)
	must[meshwire.GroupInfo](t)(groups.Create(ctx, "g", meshwire.Earliest, meshwire.GroupSettings{MaxFailures: meshwire.Ptr(uint32(1))}))
	must[meshwire.GroupInfo](t)(groups.Update(ctx, "g", meshwire.GroupSettings{BackoffMin: meshwire.Span(0)}))
	publish(t, mesh, to, 3)
	sub := must[*meshwire.Subscription](t)(mesh.Subscribe(ctx, to, meshwire.Group("g")))
	for range 3 {
		fine(t, must[*meshwire.Delivery](t)(sub.Next(ctx)).RejectConfirmed(ctx, "no"))
	}
	letters, numbers := mesh.DeadLetters(to, "g"), []uint64{}
	for letter, err := range letters.List(ctx) {
		fine(t, err)
		numbers = append(numbers, letter.Number)
	}
	if len(numbers) != 3 {
		t.Fatal(numbers)
	}
	if one := must[meshwire.DeadLetter](t)(letters.Get(ctx, numbers[0])); one.Error != "no" {
		t.Errorf("%+v", one)
	}
	if given := must[meshwire.Redriven](t)(letters.Redrive(ctx, numbers[0])); given.Count != 1 {
		t.Errorf("%+v", given)
	}
	// None are not all.
	if given, err := letters.Redrive(ctx); !errors.Is(err, meshwire.ErrInvalid) || !strings.Contains(err.Error(), "RedriveAll") {
		t.Error(given, err)
	}
	if purged, err := letters.Purge(ctx, []uint64{}...); !errors.Is(err, meshwire.ErrInvalid) || !strings.Contains(err.Error(), "PurgeAll") {
		t.Error(purged, err)
	}
	if given := must[meshwire.Redriven](t)(letters.RedriveAll(ctx)); given.Count == 0 {
		t.Errorf("%+v", given)
	}
	if purged := must[uint64](t)(letters.PurgeAll(ctx)); purged == 0 {
		t.Error(purged)
	}
	fine(t, sub.Close())
	must[meshwire.GroupInfo](t)(groups.Seek(ctx, "g", meshwire.At(2)))
	names := []string{}
	for group, err := range groups.List(ctx) {
		fine(t, err)
		names = append(names, group.Name)
	}
	must[meshwire.GroupInfo](t)(groups.Delete(ctx, "g"))
	found := false
	for each, err := range mesh.Topics().List(ctx) {
		fine(t, err)
		found = found || each.Name == to
	}
	if !found || fmt.Sprint(names) != "[g]" {
		t.Error(found, names)
	}
	must[meshwire.Topic](t)(mesh.Topics().Delete(ctx, to, true))
	limits := must[meshwire.LimitsInForce](t)(mesh.Limits().Set(ctx, meshwire.GatewayLimits{DeliverRate: meshwire.Ptr(uint64(1_000_000_000))}))
	if *must[meshwire.LimitsInForce](t)(mesh.Limits().Get(ctx)).DeliverRate != *limits.DeliverRate {
		t.Error("the limit does not hold")
	}
	must[meshwire.LimitsInForce](t)(mesh.Limits().Set(ctx, meshwire.GatewayLimits{DeliverRate: meshwire.Ptr(uint64(0))}))
}
