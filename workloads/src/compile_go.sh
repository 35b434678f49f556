# One program that calls C, one that does not and is static; both print.
set -eu
export GOPATH="$PWD/go" GOCACHE="$PWD/cache" GOFLAGS=-mod=mod GO111MODULE=off
/usr/bin/go build -o with_cgo with_cgo.go
./with_cgo
CGO_ENABLED=0 /usr/bin/go build -o plain plain.go
./plain
