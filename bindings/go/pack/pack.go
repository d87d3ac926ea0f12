// Pack makes a module proxy of files out of the module in a folder: what `go get` reads with GOPROXY=file://FOLDER.
//
//	go run pack.go MODULE_FOLDER VERSION PROXY_FOLDER
//
// Folders named tests and pack, and nested modules, are not a part of the module.
package main

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: pack MODULE_FOLDER VERSION PROXY_FOLDER")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pack(folder, version, proxy string) error {
	mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return err
	}
	name := strings.TrimSpace(strings.TrimPrefix(strings.SplitN(string(mod), "\n", 2)[0], "module"))
	// Modules that are packed together need each other in the same version.
	lines := strings.Split(string(mod), "\n")
	for at, line := range lines {
		if word := strings.Fields(line); len(word) == 3 && word[0] == "require" && strings.HasPrefix(word[1], name+"/native/") {
			lines[at] = strings.Join([]string{word[0], word[1], version}, " ")
		}
	}
	mod = []byte(strings.Join(lines, "\n"))
	place := filepath.Join(proxy, filepath.FromSlash(name), "@v")
	if err := os.MkdirAll(place, 0o755); err != nil {
		return err
	}
	for file, text := range map[string]string{
		"list":            version + "\n",
		version + ".info": fmt.Sprintf(`{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`+"\n", version),
		version + ".mod":  string(mod),
	} {
		if err := os.WriteFile(filepath.Join(place, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	out, err := os.Create(filepath.Join(place, version+".zip"))
	if err != nil {
		return err
	}
	zipped := zip.NewWriter(out)
	if err := add(zipped, folder, name+"@"+version, mod); err != nil {
		return err
	}
	if err := zipped.Close(); err != nil {
		return err
	}
	return out.Close()
}

func add(zipped *zip.Writer, folder, prefix string, mod []byte) error {
	return filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(folder, file)
		if err != nil || below == "." {
			return err
		}
		if entry.IsDir() {
			_, nested := os.Stat(filepath.Join(file, "go.mod"))
			if nested == nil || below == "tests" || below == "pack" {
				return filepath.SkipDir
			}
			return nil
		}
		to, err := zipped.Create(path.Join(prefix, filepath.ToSlash(below)))
		if err != nil {
			return err
		}
		if below == "go.mod" {
			_, err = to.Write(mod)
			return err
		}
		from, err := os.Open(file)
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = io.Copy(to, from)
		return err
	})
}
