#!/bin/sh
# Makes the stubs in stubs/ of the .proto files in the folder $1. Our files name no Go packages, so they are named here.
set -eu
go build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
here=meshwire.example/foreign/go-grpc
files="meshwire/cloudevents/v1.proto meshwire/admin/v1.proto meshwire/v1.proto"
packages="
  Mmeshwire/cloudevents/v1.proto=$here/stubs/cloudevents
  Mmeshwire/admin/v1.proto=$here/stubs/admin
  Mmeshwire/v1.proto=$here/stubs/meshwire
"
set -- --proto_path="$1" --plugin=bin/protoc-gen-go --plugin=bin/protoc-gen-go-grpc --go_out=. --go-grpc_out=.
for package in $packages; do
  set -- "$@" --go_opt="$package" --go-grpc_opt="$package"
done
set -- "$@" --go_opt=module="$here" --go-grpc_opt=module="$here"
# shellcheck disable=SC2086
protoc "$@" $files
