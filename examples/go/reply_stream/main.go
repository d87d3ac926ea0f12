// Asks for a report that comes line by line, and leaves another one in the middle.
//
//	go run ./reply_stream mesh://127.0.0.1:7400
package main

import (
	"context"
	"errors"
	"fmt"

	"examples/try"
	meshwire "github.com/meshwire/meshwire-go"
)

// report sends as many lines as are asked for. Sending waits for a reader that is slower.
func report(ctx context.Context, r *meshwire.Request, replies *meshwire.ReplySender) error {
	lines := 0
	err := r.JSON(&lines)
	for line := 1; line <= lines && err == nil; line++ {
		err = replies.Send(ctx, fmt.Sprintf("line %d", line), meshwire.Type("report.line"))
	}
	return err
}

func read(mesh *meshwire.Client, lines, most int) error {
	for reply, err := range mesh.RequestStream(context.Background(), "report", lines, meshwire.ReplyCredit(8)) {
		if err != nil {
			return err
		}
		fmt.Println(reply.Text())
		if most--; most == 0 {
			// Leaving cancels the rest: the handler is told.
			fmt.Println("that is enough")
			return nil
		}
	}
	fmt.Println("all of it")
	return nil
}

func main() {
	ctx := context.Background()
	mesh := try.To(meshwire.Connect(ctx, try.URL()))
	defer mesh.Close()
	go mesh.ServeStream(ctx, "report", report)
	// Until the responder is there.
	for err := meshwire.ErrNoResponders; errors.Is(err, meshwire.ErrNoResponders); {
		err = read(mesh, 3, 4)
	}
	try.Do(read(mesh, 1_000_000, 2))
}
