package watermark

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/pavise/pavise"
)

const (
	maxLine = 4 << 20 // bytes of one line of a sheet
	// MaxSheet bounds the lines of a sheet, and so what it makes us hold together with
	// maxSheetBytes.
	MaxSheet      = 1 << 20
	maxSheetBytes = 1 << 30
)

// A closing is the last line of a sheet: what is above it is whole and as it was written.
type closing struct {
	Rows   int    `json:"rows"`
	Digest string `json:"digest"` // SHA-256 over all lines above, in hexadecimal digits
}

// writeSheet writes a head, rows and the closing line, each a line of JSON, and returns
// the digest.
func writeSheet[H, R any](w io.Writer, head H, rows []R) (digest string, err error) {
	out, hash := bufio.NewWriter(w), sha256.New()
	line := func(v any) {
		text := append(compact(v), '\n')
		hash.Write(text)
		out.Write(text)
	}
	line(head)
	for _, row := range rows {
		line(row)
	}
	digest = hex.EncodeToString(hash.Sum(nil))
	out.Write(append(compact(closing{len(rows), digest}), '\n'))
	return digest, out.Flush()
}

// readSheet reads what writeSheet wrote. Errors are of kind Invalid, or Unverified when
// the text is well formed and its digest another's; what names the file in them.
func readSheet[H, R any](r io.Reader, what string, row func(R, int) error) (head H, digest string, err error) {
	in, hash := bufio.NewReaderSize(io.LimitReader(r, maxSheetBytes+1), 1<<16), sha256.New()
	total, number := 0, 0
	fault := func(why any) error {
		return invalid("take a copy that is whole, and as Pavise wrote it", "%s, line %d: %v", what, number, why)
	}
	for {
		text, err := readLine(in)
		number++
		if total += len(text); err == nil && (total > maxSheetBytes || number > MaxSheet+2) {
			err = fmt.Errorf("the file is longer than %d lines or %d bytes", MaxSheet+2, maxSheetBytes)
		}
		if err != nil {
			return head, "", fault(err)
		}
		if number == 1 {
			if head, err = tight[H](text); err != nil {
				return head, "", fault("it " + err.Error())
			}
		} else if bytes.HasPrefix(text, []byte(`{"rows":`)) {
			digest, err := closeSheet(in, text, number-2, hex.EncodeToString(hash.Sum(nil)), what)
			return head, digest, err
		} else {
			value, err := tight[R](text)
			if err != nil {
				return head, "", fault("it " + err.Error())
			}
			if err := row(value, number); err != nil {
				return head, "", fault(err)
			}
		}
		hash.Write(append(text, '\n'))
	}
}

// closeSheet holds the last line to what came before it.
func closeSheet(in *bufio.Reader, text []byte, rows int, digest, what string) (string, error) {
	end, err := tight[closing](text)
	if err != nil {
		return "", invalid("take a copy that is whole", "%s: its last line %v", what, err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return "", invalid("take a copy that is whole", "%s: something follows its last line", what)
	}
	if end.Rows != rows || end.Digest != digest {
		return "", &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s is not what its last line was made of: the file was changed", what), Hint: "take the copy whose digest is in the log"}
	}
	return digest, nil
}

// tight is strict without white space: a line has one spelling.
func tight[T any](text []byte) (v T, err error) {
	if v, err = strict[T](text); err == nil && !bytes.Equal(text, compact(v)) {
		err = errors.New("has white space between its fields")
	}
	return v, err
}

// readLine reads one line without its end.
func readLine(in *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		if text = append(text, part...); len(text) > maxLine {
			return nil, fmt.Errorf("it is longer than %d bytes", maxLine)
		}
		switch {
		case err == nil:
			return text[:len(text)-1], nil
		case errors.Is(err, io.EOF):
			return nil, errors.New("the file is cut off: there is no last line with its digest")
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
