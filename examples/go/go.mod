module examples

go 1.24

require github.com/meshwire/meshwire-go v0.1.0

require github.com/meshwire/meshwire-go/native/linux_amd64 v0.1.0 // indirect
