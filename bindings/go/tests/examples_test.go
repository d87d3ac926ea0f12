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

// printed is what each example prints, as the one of that name in Rust does.
var printed = map[string]string{
	"publisher": "order 1 is kept\norder 2 is kept\norder 3 is kept\norder 4 is kept\norder 5 is kept\n",
	"broadcast": "north: apples 3\nsouth: apples 3\nnorth: pears 4\nguest: plums 5\nsouth: pears 4\nsouth: plums 5\n" +
		"north has 1 waiting\nsouth has 0 waiting\n",
	"dead_letter": "1 costs 5\n2 failed, attempt 1: it has no price\n3 costs 7\n2 failed, attempt 2: it has no price\n" +
		"dead letter 1: order 2, 2 failures\ngiven back: 1\n2 is free\nleft: 0\n",
	"publish_subscribe": "board: tea 1.90\nboard: coffee 2.40\nboard: cocoa 3.10\ntill: tea 1.90\ntill: coffee 2.40\ntill: cocoa 3.10\n",
	"consumer_group":    "ada: [1, 4, 7, 10]\nben: [2, 5, 8, 11]\ncy: [3, 6, 9, 12]\n",
	"manual_ack": "a: delivered at attempt 1\nb: nobody at home, again in 100 ms\nc: lost on the way\n" +
		"b: delivered at attempt 2\nc: delivered at attempt 2\n",
	"batch":         "one is refused: TOO_LARGE\n99 are kept\narchived 99 readings, their sum is 5008\n",
	"request_reply": "sku 1 costs 2\nsku 21 costs 42\nrefused: there is no sku 0\nnobody serves discount\n",
	"reply_stream":  "line 1\nline 2\nline 3\nall of it\nline 1\nline 2\nthat is enough\n",
}

// examples are beside the suite, or where MESHWIRE_EXAMPLES says.
func examples(t *testing.T) string {
	folder := os.Getenv("MESHWIRE_EXAMPLES")
	if folder == "" {
		t.Skip("skipped: needs MESHWIRE_EXAMPLES")
	}
	return folder
}

func TestTheExamplesPrintWhatThoseInRustDo(t *testing.T) {
	folder, programs := examples(t), t.TempDir()
	build := exec.Command("go", "build", "-o", programs, "./...")
	build.Dir = folder
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	run := func(name, url string) (string, string) {
		program := exec.Command(filepath.Join(programs, name), url)
		var out, errors strings.Builder
		program.Stdout, program.Stderr = &out, &errors
		if program.Run() != nil {
			return out.String(), "failed: " + errors.String()
		}
		return out.String(), errors.String()
	}
	for name, wanted := range printed {
		gateway := meshwiretest.Start(t)
		if said, errors := run(name, gateway.URL); said != wanted {
			t.Errorf("%s: %s %s", name, said, errors)
		}
		if name == "publisher" {
			billed := ""
			for at, who := range []string{"ada", "ben", "ada", "cy", "ben"} {
				billed += fmt.Sprintf("bill %s for item %d\n", who, at+1)
			}
			if said, errors := run("consumer", gateway.URL); said != billed {
				t.Errorf("consumer: %s %s", said, errors)
			}
		}
		gateway.Kill()
	}
	if _, errors := run("publisher", "mesh://127.0.0.1:1"); !strings.Contains(errors, "meshwire serve") {
		t.Error(errors)
	}
}

func TestTheExamplesAreShort(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(examples(t), "*", "main.go"))
	if len(files) != 10 {
		t.Error(files)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file)
		count := 0
		for _, line := range strings.Split(string(text), "\n") {
			// Neither blank lines nor comments count.
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				count++
			}
		}
		if count > 40 {
			t.Errorf("%s has %d lines", file, count)
		}
	}
}
