// The demo's player in Go: publishes events, and receives those of the players in all languages.
//
//	player URL NAME EVENTS ALL
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/meshwire/meshwire-go"
)

var language = "Go " + strings.TrimPrefix(runtime.Version(), "go")

func play(ctx context.Context, url, name string, events, all int) error {
	mesh, err := meshwire.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer mesh.Close()
	came, err := mesh.Subscribe(ctx, "languages", meshwire.Group("in-"+name), meshwire.StartEarliest())
	if err != nil {
		return err
	}
	defer came.Close()
	for n := range events {
		id := meshwire.ID(fmt.Sprintf("%s-%d", name, n))
		said := meshwire.Extension("language", language)
		if _, err := mesh.PublishAsync(ctx, "languages", meshwire.JSON(map[string]int{"n": n}), id, meshwire.Type("greeting"), said); err != nil {
			return err
		}
	}
	if err := mesh.Flush(ctx); err != nil {
		return err
	}
	received := map[string]int{}
	for delivery, err := range came.All(ctx) {
		if err != nil {
			return err
		}
		from, _ := delivery.Attribute("language")
		received[from]++
		if err := delivery.AckConfirmed(ctx); err != nil {
			return err
		}
		if all--; all == 0 {
			break
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"language": language, "received": received})
}

func main() {
	events, _ := strconv.Atoi(os.Args[3])
	all, _ := strconv.Atoi(os.Args[4])
	if err := play(context.Background(), os.Args[1], os.Args[2], events, all); err != nil {
		log.Fatal(err)
	}
}
