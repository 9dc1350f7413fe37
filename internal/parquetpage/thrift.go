package parquetpage

import (
	"encoding/binary"
	"errors"
)

// Bounds on what one Thrift structure may hold. Libraries make room for as many elements as a
// list says that it has, before they look for them.
const (
	maxElements = 1 << 20
	maxThrift   = 64 // how deep structures are nested
)

var errThrift = errors.New("its metadata is damaged")

// A thrift walks through a structure of Thrift's compact protocol without making anything of
// it, so that nothing is believed that the bytes do not hold. It calls see for every integer,
// for every field that is true (1) or false (0), and for every beginning of a structure, with
// the numbers of the fields that lead there.
type thrift struct {
	b        []byte
	at       int
	elements int
	path     []int16
	see      func(path []int16, begins bool, value int64)
}

// The types of the compact protocol that fields and elements have.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftI8     = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 16
)

// Walk walks through the structure that b begins with, from its first field to its stop, and
// returns how long it is. It calls see for every integer, for every field that is true (1) or
// false (0), and for every beginning of a structure, with the numbers of the fields that lead
// there, which are good until it returns.
func Walk(b []byte, see func(path []int16, begins bool, value int64)) (length int, err error) {
	t := thrift{b: b, see: see}
	err = t.structure()
	return t.at, err
}

// structure walks through one structure, from its first field to its stop.
func (t *thrift) structure() error {
	if len(t.path) > maxThrift {
		return errThrift
	}
	field := int16(0)
	for {
		head, err := t.byte()
		if err != nil || head == 0 {
			return err
		}
		if delta := int16(head >> 4); delta > 0 {
			field += delta
		} else {
			n, err := t.integer()
			if err != nil {
				return err
			}
			field = int16(n)
		}
		t.path = append(t.path, field)
		switch kind := head & 15; kind {
		case thriftTrue, thriftFalse: // which are all there is to a field
			t.see(t.path, false, int64(thriftFalse-kind))
		default:
			err = t.value(kind)
		}
		if err != nil {
			return err
		}
		t.path = t.path[:len(t.path)-1]
	}
}

// value walks through a value, or an element of a list.
func (t *thrift) value(kind byte) error {
	switch kind {
	case thriftTrue, thriftFalse, thriftI8:
		_, err := t.byte()
		return err
	case thriftI16, thriftI32, thriftI64:
		n, err := t.integer()
		if err == nil {
			t.see(t.path, false, n)
		}
		return err
	case thriftDouble:
		return t.skip(8)
	case thriftUUID:
		return t.skip(16)
	case thriftBinary:
		n, err := t.length()
		if err != nil {
			return err
		}
		return t.skip(n)
	case thriftList, thriftSet:
		return t.list()
	case thriftMap:
		return t.pairs()
	case thriftStruct:
		t.see(t.path, true, 0)
		return t.structure()
	}
	return errThrift
}

func (t *thrift) list() error {
	head, err := t.byte()
	if err != nil {
		return err
	}
	n := int(head >> 4)
	if n == 15 {
		if n, err = t.length(); err != nil {
			return err
		}
	}
	return t.each(n, head&15)
}

func (t *thrift) pairs() error {
	n, err := t.length()
	if err != nil || n == 0 {
		return err
	}
	kinds, err := t.byte()
	if err != nil {
		return err
	}
	return t.each(n, kinds>>4, kinds&15)
}

// each walks through n times values of these kinds.
func (t *thrift) each(n int, kinds ...byte) error {
	if t.elements += n; n > len(t.b)-t.at || t.elements > maxElements || len(t.path) > maxThrift {
		return errThrift
	}
	t.path = append(t.path, 0) // lists within lists are nested, too
	for range n {
		for _, kind := range kinds {
			path := t.path
			if kind == thriftStruct {
				t.path = t.path[:len(t.path)-1]
			}
			if err := t.value(kind); err != nil {
				return err
			}
			t.path = path
		}
	}
	t.path = t.path[:len(t.path)-1]
	return nil
}

func (t *thrift) byte() (byte, error) {
	if t.at == len(t.b) {
		return 0, errThrift
	}
	t.at++
	return t.b[t.at-1], nil
}

func (t *thrift) skip(n int) error {
	if n > len(t.b)-t.at {
		return errThrift
	}
	t.at += n
	return nil
}

// length reads how long something is, which is no longer than what is left.
func (t *thrift) length() (int, error) {
	n, size := binary.Uvarint(t.b[t.at:])
	if size <= 0 || n > uint64(len(t.b)-t.at) {
		return 0, errThrift
	}
	t.at += size
	return int(n), nil
}

func (t *thrift) integer() (int64, error) {
	n, size := binary.Varint(t.b[t.at:]) // zigzag, as Thrift has it
	if size <= 0 {
		return 0, errThrift
	}
	t.at += size
	return n, nil
}
