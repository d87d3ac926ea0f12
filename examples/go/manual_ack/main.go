// Says itself when a delivery is done: one is acked, one comes again after a while, one is forgotten and comes again when its lease ends.
//
//	go run ./manual_ack mesh://127.0.0.1:7400
package main

import (
	"context"
	"fmt"
	"time"

	"examples/try"
	meshwire "github.com/meshwire/meshwire-go"
)

func main() {
	ctx := context.Background()
	mesh := try.To(meshwire.Connect(ctx, try.URL()))
	defer mesh.Close()
	for _, letter := range []string{"a", "b", "c"} {
		try.To(mesh.Publish(ctx, "letters", letter, meshwire.Type("letter.sent")))
	}
	// A delivery may stay unsettled for two seconds; the default is 30 s.
	letters := try.To(mesh.Subscribe(ctx, "letters", meshwire.Group("postmen"), meshwire.AckWait(2*time.Second)))
	left := 3
	for d, err := range letters.All(ctx) {
		try.Do(err)
		switch {
		case d.Text() == "b" && d.Attempt == 1:
			fmt.Println("b: nobody at home, again in 100 ms")
			d.NackAfter(100 * time.Millisecond)
		case d.Text() == "c" && d.Attempt == 1:
			// Without a word it is leased until the ack wait ends.
			fmt.Println("c: lost on the way")
		default:
			fmt.Printf("%s: delivered at attempt %d\n", d.Text(), d.Attempt)
			// Answered when it can no longer come again.
			try.Do(d.AckConfirmed(ctx))
			left--
		}
		if left == 0 {
			break
		}
	}
}
