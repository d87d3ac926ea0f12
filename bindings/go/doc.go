// Package meshwire is the client of Meshwire: publish, subscribe, request and serve CloudEvents.
//
//	mesh, err := meshwire.Connect(ctx, "") // "" = $MESHWIRE_URL or the default
//	if err != nil {
//		return err
//	}
//	defer mesh.Close()
//	receipt, err := mesh.Publish(ctx, "orders", meshwire.JSON(order), meshwire.Key("customer-7"))
//
// Whatever a client does by itself, reconnecting, repeating, leases, windows, is done by the one core that all languages share. All
// methods may be called from any goroutine.
package meshwire

import "github.com/meshwire/meshwire-go/internal/native"

// Info says how the client's library is linked.
type Info struct {
	// Static: it is a part of the program; else it is a shared library.
	Static bool
	// Version of the library.
	Version string
}

// LinkInfo says how the client's library is linked, and its version.
func LinkInfo() Info { return Info{Static: native.IsStatic, Version: native.Version()} }
