// Two hosts keep a cache of prices: each gets every change. One goes away and comes back to where it was; a third one only looks on.
//
//	go run ./broadcast mesh://127.0.0.1:7400
package main

import (
	"context"
	"fmt"

	"examples/try"
	meshwire "github.com/meshwire/meshwire-go"
)

var ctx = context.Background()

func take(who string, prices *meshwire.Subscription, changes int) {
	for range changes {
		change := try.To(prices.Next(ctx))
		fmt.Printf("%s: %s\n", who, change.Text())
		try.Do(change.AckConfirmed(ctx))
	}
}

func main() {
	mesh := try.To(meshwire.Connect(ctx, try.URL()))
	defer mesh.Close()
	host := func(more ...meshwire.SubscribeOption) *meshwire.Subscription {
		return try.To(mesh.Subscribe(ctx, "prices", append(more, meshwire.Group("caches"), meshwire.Broadcast())...))
	}
	change := func(text string) { try.To(mesh.Publish(ctx, "prices", text, meshwire.Type("price.changed"))) }
	// Durable members: their places are kept under their names.
	north, south := host(meshwire.Member("north")), host(meshwire.Member("south"))
	change("apples 3")
	take("north", north, 1)
	take("south", south, 1)
	south.Close()
	change("pears 4")
	take("north", north, 1)
	// Without a name it begins with the next change, and nothing is kept of it.
	guest := host()
	change("plums 5")
	take("guest", guest, 1)
	take("south", host(meshwire.Member("south")), 2)
	for _, member := range try.To(mesh.Groups("prices").Get(ctx, "caches")).DurableMembers {
		fmt.Printf("%s has %d waiting\n", member.Name, member.Lag)
	}
}
