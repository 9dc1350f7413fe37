//go:build !linux

package http1

import "syscall"

// gone reports nothing here: a request whose caller has left runs to its end.
func gone(syscall.RawConn) bool { return false }
