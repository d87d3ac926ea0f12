module github.com/meshwire/meshwire-go/native/linux_amd64

go 1.24
