package abreast

import "crypto/sha256"

// lanes is how many messages a processor with wide registers hashes at once, all of as many blocks.
const lanes = 16

// enough is for how many messages sixteen lanes take less time than two do.
const enough = 6

// deepest is how many blocks a message has at most that is hashed in sixteen lanes.
const deepest = (shortest + 9) / blockSize

// A sorter gathers messages of as many blocks each.
type sorter struct {
	waiting [deepest + 1]uint8
	list    [deepest + 1][lanes]uint32 // numbers of messages, by their blocks
	room    [lanes * deepest * blockSize]byte
	digests [lanes][sha256.Size]byte
}

// inSixteens hashes messages in sixteen lanes, and in two those that are too long or too few.
func inSixteens(out []byte, messages [][]byte) {
	var s sorter
	var others picked
	for i, m := range messages {
		n := padded(len(m)) / blockSize
		if n > deepest {
			if others.add(i) {
				others.hash(out, messages)
			}
			continue
		}
		s.list[n][s.waiting[n]] = uint32(i)
		if s.waiting[n]++; s.waiting[n] == lanes {
			s.hash(n, out, messages)
		}
	}
	for n := range s.list {
		if s.waiting[n] >= enough {
			s.hash(n, out, messages)
			continue
		}
		for _, i := range s.list[n][:s.waiting[n]] {
			if others.add(int(i)) {
				others.hash(out, messages)
			}
		}
	}
	others.hash(out, messages)
}

// hash hashes those that wait and have n blocks.
func (s *sorter) hash(n int, out []byte, messages [][]byte) {
	list := s.list[n][:s.waiting[n]]
	s.waiting[n] = 0
	var from [lanes]*byte
	for lane, i := range list {
		room := s.room[lane*n*blockSize:][:n*blockSize]
		pad(room, messages[i], len(messages[i]))
		from[lane] = &room[0]
	}
	for lane := len(list); lane < lanes; lane++ {
		from[lane] = from[0] // which nobody asks for
	}
	sixteen(&s.digests, &from, n)
	for lane, i := range list {
		*(*[sha256.Size]byte)(out[int(i)*sha256.Size:]) = s.digests[lane]
	}
}
