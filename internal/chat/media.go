package chat

import "strings"

// nameFault says what is wrong with the name of a tool or schema, or "".
func nameFault(s string) string {
	if s == "" {
		return "is empty"
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return "has other characters than letters, digits, _ and -"
		}
	}
	return ""
}

// imageFault says what is wrong with an image's address, or "". It is the image
// itself, as data, or an https address of a name: nothing that a model server might
// fetch from the network that it stands in, such as an address in numbers.
func imageFault(s string) string {
	if data, ok := strings.CutPrefix(s, "data:"); ok {
		media, b64, ok := strings.Cut(data, ";base64,")
		if !ok {
			return "is data that is not base64"
		}
		switch media {
		case "image/png", "image/jpeg", "image/webp", "image/gif":
			return base64Fault(b64)
		}
		return "is data of another kind than image/png, image/jpeg, image/webp and image/gif"
	}
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		return "is neither data: nor https:"
	}
	if len(s) > 2048 {
		return "is an address of more than 2048 bytes"
	}
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\\\"<>^`{|}#", c) >= 0 {
			return "is an address with characters that addresses do not have, or with a fragment"
		}
	}
	return hostFault(host)
}

// hostFault says what is wrong with the host of an address, or "".
func hostFault(host string) string {
	labels := strings.Split(strings.ToLower(host), ".")
	last := labels[len(labels)-1]
	if len(labels) < 2 || last == "local" || last == "internal" || last == "localhost" || last == "" {
		return "is an address of no public host"
	}
	letters := false
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "is an address without a proper host"
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return "is an address whose host has other characters than letters, digits and -, or a user or port"
			}
		}
	}
	for _, c := range []byte(last) {
		letters = letters || 'a' <= c && c <= 'z'
	}
	if !letters || strings.HasPrefix(last, "0x") {
		return "is an address in numbers"
	}
	return ""
}

// base64Fault says what is wrong with base64 (RFC 4648, section 4), or "": it is
// padded, and its last bits are zero, so that equal bytes have one text.
func base64Fault(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	if s == "" || len(s)%4 != 0 {
		return "is base64 of the wrong length"
	}
	body := strings.TrimRight(s, "=")
	pad := len(s) - len(body)
	for _, c := range []byte(body) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/':
		default:
			return "is base64 with characters that it does not have"
		}
	}
	if pad > 2 || pad > 0 && strings.IndexByte(alphabet, body[len(body)-1])&(1<<(2*pad)-1) != 0 {
		return "is base64 with a wrong end"
	}
	return ""
}
