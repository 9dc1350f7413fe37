package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

// upstream is the model server of all scenarios, which costs as little as one in Go
// can: a goroutine for each connection, and answers made before. It says where it
// listens and serves until its input ends.
func upstream() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		l.Close()
	}()
	answers := cannedAnswers()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err == nil {
			go serve(c, answers)
		}
	}
}

// cannedAnswers are whole responses by method and path.
func cannedAnswers() map[string][]byte {
	answers := map[string][]byte{"POST /v1/chat/completions": response(chatAnswer())}
	for _, m := range models {
		answers["POST /v2/models/"+m.name+"/infer"] = response(m.answer())
		answers["GET /v2/models/"+m.name] = response(m.description())
	}
	return answers
}

func response(body []byte) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

var (
	unknown  = []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	streamed = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(chatEvent()), chatEvent())
)

// serve answers one connection. A stream gets its first event, and then nothing until
// its reader goes.
func serve(c net.Conn, answers map[string][]byte) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 8<<10)
	var body []byte
	for {
		first, length, err := readHead(in)
		if err != nil {
			return
		}
		if body, err = readBody(in, body[:0], length); err != nil {
			return
		}
		if bytes.Contains(body, []byte(`"stream":true`)) {
			c.Write(streamed)
			io.Copy(io.Discard, in)
			return
		}
		answer, known := answers[first]
		if !known {
			answer = unknown
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// chunked is the length of a body that says it in its chunks.
const chunked = -1

// readHead reads up to the empty line: the words of the first line but the version, and
// the length of the body that follows.
func readHead(in *bufio.Reader) (first string, length int, err error) {
	for n := 0; ; n++ {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return "", 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case n == 0:
			first = string(line[:max(bytes.LastIndexByte(line, ' '), 0)])
			continue
		case len(line) == 0:
			return first, length, nil
		}
		key, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case len(key) == len("content-length") && strings.EqualFold(string(key), "content-length"):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return "", 0, err
			}
		case len(key) == len("transfer-encoding") && strings.EqualFold(string(key), "transfer-encoding"):
			length = chunked
		}
	}
}

// readBody appends a body to b.
func readBody(in *bufio.Reader, b []byte, length int) ([]byte, error) {
	if length != chunked {
		at := len(b)
		b = append(b, make([]byte, length)...)
		_, err := io.ReadFull(in, b[at:])
		return b, err
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return b, err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 24)
		if err != nil {
			return b, err
		}
		at := len(b)
		b = append(b, make([]byte, size+2)...) // and the line's end
		if _, err := io.ReadFull(in, b[at:]); err != nil {
			return b, err
		}
		b = b[:len(b)-2]
		if size == 0 {
			return b, nil
		}
	}
}
