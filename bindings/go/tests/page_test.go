package meshwire_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshwire/meshwire-go/meshwiretest"
)

// pieces is the program around the pieces of a program in the documentation: it runs the one that is asked for. There are events for it, and
// somebody answers its requests; when a handler has had an event it may end.
const pieces = `package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

type Order struct{ ID int }

var end context.CancelFunc

func bill(ctx context.Context, d *meshwire.Delivery) error { return onOrder(ctx, d) }

func onOrder(ctx context.Context, d *meshwire.Delivery) error {
	fmt.Println("handled")
	end()
	return nil
}

func main() {
	alive := context.Background()
	mesh, err := meshwire.Connect(alive, "")
	if err != nil {
		log.Fatal(err)
	}
	for at := range 3 {
		if _, err := mesh.Publish(alive, "orders", Order{at}); err != nil {
			log.Fatal(err)
		}
	}
	go mesh.Serve(alive, "quote", func(context.Context, *meshwire.Request) (any, error) { return "42", nil })
	go mesh.ServeStream(alive, "report", func(ctx context.Context, _ *meshwire.Request, replies *meshwire.ReplySender) error {
		return replies.Send(ctx, "a part")
	})
	for _, topic := range []string{"quote", "report"} {
		for errors.Is(err, meshwire.ErrNoResponders) || err == nil {
			if _, err = mesh.Request(alive, topic, "ready?"); err == nil {
				break
			}
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(alive)
	end = stop
	if err := all[os.Args[1]](ctx, mesh, Order{1}, []byte("x"), []Order{{1}, {2}}); err != nil && !(errors.Is(err, context.Canceled) && ctx.Err() != nil) {
		log.Fatal(err)
	}
	if _, err := mesh.Stats(); err != nil {
		log.Fatal("the piece closed the client: ", err)
	}
}

var all = map[string]func(ctx context.Context, mesh *meshwire.Client, order Order, b []byte, rows []Order) error{
`

const piece = `%q: func(ctx context.Context, mesh *meshwire.Client, order Order, b []byte, rows []Order) error {
	var err error
	_, _, _, _, _ = errors.New, fmt.Sprint, slog.Default, time.Now, err
%s
	return nil
},
`

// notRun is the code of docs/go.md that is in another language, and why it is not run here.
var notRun = map[string]string{
	"sh":         "the module of this suite was got by these lines from what was packed",
	"dockerfile": "it needs a container runtime, and images of a registry",
}

// page is the code of docs/go.md: programs, tests, and pieces of programs.
func page(t *testing.T) (programs, tests, parts []string) {
	path := os.Getenv("MESHWIRE_PAGE")
	if path == "" {
		t.Skip("skipped: needs MESHWIRE_PAGE")
	}
	text, err := os.ReadFile(path)
	fine(t, err)
	left := map[string]int{}
	for at, fenced := range strings.Split("\n"+string(text), "\n```") {
		if at%2 == 0 {
			continue
		}
		kind, code, _ := strings.Cut(fenced, "\n")
		switch {
		case kind != "go":
			if left[kind]++; notRun[kind] == "" {
				t.Errorf("the page has code that nobody runs: %q", fenced)
			}
		case strings.HasPrefix(code, "package main"):
			programs = append(programs, code)
		case strings.HasPrefix(code, "package "):
			tests = append(tests, code)
		default:
			parts = append(parts, code)
		}
	}
	// One of each, so that no other one hides behind the reason.
	for kind, why := range notRun {
		if t.Logf("not run: %s: %s", kind, why); left[kind] != 1 {
			t.Errorf("the page has %d of %s in place of 1", left[kind], kind)
		}
	}
	if len(programs) < 1 || len(tests) < 1 || len(parts) < 6 {
		t.Fatalf("the page has %d programs, %d tests and %d pieces", len(programs), len(tests), len(parts))
	}
	return programs, tests, parts
}

// All code of docs/go.md is run: programs, tests, and the pieces of programs with what they speak of around them.
func TestThePageOfGoSaysWhatCompilesAndRuns(t *testing.T) {
	programs, tests, parts := page(t)
	// Deeper than the examples, beside those of another run.
	folder, err := os.MkdirTemp(examples(t), "page")
	fine(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	put := func(name, file, code string) string {
		place := filepath.Join(folder, name)
		fine(t, os.MkdirAll(place, 0o755))
		fine(t, os.WriteFile(filepath.Join(place, file), []byte(code), 0o644))
		return place
	}
	// With a disk, as on the page.
	gateway := meshwiretest.Start(t, "--data-dir", t.TempDir())
	run := func(place string, program string, arguments ...string) string {
		command := exec.Command(program, arguments...)
		command.Dir = place
		command.Env = append(os.Environ(), "MESHWIRE_URL="+gateway.URL)
		said, err := command.CombinedOutput()
		if err != nil {
			t.Errorf("%s %s: %v\n%s", place, arguments, err, said)
		}
		return string(said)
	}
	for at, code := range programs {
		run(put(fmt.Sprint("page", at), "main.go", code), "go", "run", ".")
	}
	for at, code := range tests {
		place := put(fmt.Sprint("tested", at), "page_test.go", code)
		if said := run(place, "go", "test", "-v", "-count=1", "."); !strings.Contains(said, "--- PASS") {
			t.Error(said)
		}
	}
	code := pieces
	for at, part := range parts {
		code += fmt.Sprintf(piece, fmt.Sprint(at), part)
	}
	place := put("pieces", "main.go", code+"}\n")
	run(place, "go", "vet", ".")
	run(place, "go", "build", "-o", "pieces", ".")
	for at, part := range parts {
		said := run(place, "./pieces", fmt.Sprint(at))
		if strings.Contains(part, "bill(") || strings.Contains(part, "onOrder") {
			if !strings.Contains(said, "handled") {
				t.Errorf("no event came to piece %d: %s", at, said)
			}
		}
	}
}
