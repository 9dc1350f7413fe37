//go:build !purego

#include "textflag.h"

// The constants of SHA-256 (FIPS 180-4, section 4.2.2).
DATA k<>+0x00(SB)/8, $0x71374491428a2f98
DATA k<>+0x08(SB)/8, $0xe9b5dba5b5c0fbcf
DATA k<>+0x10(SB)/8, $0x59f111f13956c25b
DATA k<>+0x18(SB)/8, $0xab1c5ed5923f82a4
DATA k<>+0x20(SB)/8, $0x12835b01d807aa98
DATA k<>+0x28(SB)/8, $0x550c7dc3243185be
DATA k<>+0x30(SB)/8, $0x80deb1fe72be5d74
DATA k<>+0x38(SB)/8, $0xc19bf1749bdc06a7
DATA k<>+0x40(SB)/8, $0xefbe4786e49b69c1
DATA k<>+0x48(SB)/8, $0x240ca1cc0fc19dc6
DATA k<>+0x50(SB)/8, $0x4a7484aa2de92c6f
DATA k<>+0x58(SB)/8, $0x76f988da5cb0a9dc
DATA k<>+0x60(SB)/8, $0xa831c66d983e5152
DATA k<>+0x68(SB)/8, $0xbf597fc7b00327c8
DATA k<>+0x70(SB)/8, $0xd5a79147c6e00bf3
DATA k<>+0x78(SB)/8, $0x1429296706ca6351
DATA k<>+0x80(SB)/8, $0x2e1b213827b70a85
DATA k<>+0x88(SB)/8, $0x53380d134d2c6dfc
DATA k<>+0x90(SB)/8, $0x766a0abb650a7354
DATA k<>+0x98(SB)/8, $0x92722c8581c2c92e
DATA k<>+0xa0(SB)/8, $0xa81a664ba2bfe8a1
DATA k<>+0xa8(SB)/8, $0xc76c51a3c24b8b70
DATA k<>+0xb0(SB)/8, $0xd6990624d192e819
DATA k<>+0xb8(SB)/8, $0x106aa070f40e3585
DATA k<>+0xc0(SB)/8, $0x1e376c0819a4c116
DATA k<>+0xc8(SB)/8, $0x34b0bcb52748774c
DATA k<>+0xd0(SB)/8, $0x4ed8aa4a391c0cb3
DATA k<>+0xd8(SB)/8, $0x682e6ff35b9cca4f
DATA k<>+0xe0(SB)/8, $0x78a5636f748f82ee
DATA k<>+0xe8(SB)/8, $0x8cc7020884c87814
DATA k<>+0xf0(SB)/8, $0xa4506ceb90befffa
DATA k<>+0xf8(SB)/8, $0xc67178f2bef9a3f7
GLOBL k<>(SB), RODATA|NOPTR, $256

// flip turns the bytes of each word round.
DATA flip<>+0x00(SB)/8, $0x0405060700010203
DATA flip<>+0x08(SB)/8, $0x0c0d0e0f08090a0b
GLOBL flip<>(SB), RODATA|NOPTR, $16

// Of a lane abef and cdgh are its state, as the instructions want it, and w, w1, w2 and w3 sixteen
// words of its schedule, four in each. X0 is what SHA256RNDS2 reads by itself.

// ORDER turns a..h in two registers into abef and cdgh. X7 is room.
#define ORDER(abef, cdgh) \
	PSHUFD $0xb1, abef, abef \
	PSHUFD $0x1b, cdgh, cdgh \
	MOVO abef, X7 \
	PALIGNR $8, cdgh, abef \
	PBLENDW $0xf0, X7, cdgh

// BACK is the reverse of ORDER.
#define BACK(abef, cdgh) \
	PSHUFD $0x1b, abef, abef \
	PSHUFD $0xb1, cdgh, cdgh \
	MOVO abef, X7 \
	PBLENDW $0xf0, cdgh, abef \
	PALIGNR $8, X7, cdgh

// LOAD reads four words of a block.
#define LOAD(at, w) \
	MOVOU at, w \
	PSHUFB X15, w

// ROUNDS is four rounds on the words w.
#define ROUNDS(k, abef, cdgh, w) \
	MOVO w, X0 \
	PADDD k, X0 \
	SHA256RNDS2 X0, abef, cdgh \
	PSHUFD $0x0e, X0, X0 \
	SHA256RNDS2 X0, cdgh, abef

// EXTEND finishes the four words behind w, which are begun in next; before is what is before w.
#define EXTEND(before, w, next) \
	MOVO w, X7 \
	PALIGNR $4, before, X7 \
	PADDD X7, next \
	SHA256MSG2 w, next

// func blocks(a, b *[8]uint32, p, q *byte, n int)
//
// The lanes take turns of four rounds. Each waits for itself most of the time: the rounds of a
// lane take eight times as long to answer as to begin.
TEXT ·blocks(SB), NOSPLIT, $64-40
	MOVQ a+0(FP), DI
	MOVQ b+8(FP), SI
	MOVQ p+16(FP), R8
	MOVQ q+24(FP), R9
	MOVQ n+32(FP), CX
	MOVOU (DI), X1
	MOVOU 16(DI), X2
	MOVOU (SI), X8
	MOVOU 16(SI), X9
	ORDER(X1, X2)
	ORDER(X8, X9)
	MOVOU flip<>(SB), X15
	LEAQ k<>(SB), AX

next:
	MOVOU X1, save-64(SP)
	MOVOU X2, save-48(SP)
	MOVOU X8, save-32(SP)
	MOVOU X9, save-16(SP)

	LOAD(0(R8), X3)
	ROUNDS(0(AX), X1, X2, X3)
	LOAD(0(R9), X10)
	ROUNDS(0(AX), X8, X9, X10)
	LOAD(16(R8), X4)
	ROUNDS(16(AX), X1, X2, X4)
	SHA256MSG1 X4, X3
	LOAD(16(R9), X11)
	ROUNDS(16(AX), X8, X9, X11)
	SHA256MSG1 X11, X10
	LOAD(32(R8), X5)
	ROUNDS(32(AX), X1, X2, X5)
	SHA256MSG1 X5, X4
	LOAD(32(R9), X12)
	ROUNDS(32(AX), X8, X9, X12)
	SHA256MSG1 X12, X11
	LOAD(48(R8), X6)
	ROUNDS(48(AX), X1, X2, X6)
	EXTEND(X5, X6, X3)
	SHA256MSG1 X6, X5
	LOAD(48(R9), X13)
	ROUNDS(48(AX), X8, X9, X13)
	EXTEND(X12, X13, X10)
	SHA256MSG1 X13, X12
	ROUNDS(64(AX), X1, X2, X3)
	EXTEND(X6, X3, X4)
	SHA256MSG1 X3, X6
	ROUNDS(64(AX), X8, X9, X10)
	EXTEND(X13, X10, X11)
	SHA256MSG1 X10, X13
	ROUNDS(80(AX), X1, X2, X4)
	EXTEND(X3, X4, X5)
	SHA256MSG1 X4, X3
	ROUNDS(80(AX), X8, X9, X11)
	EXTEND(X10, X11, X12)
	SHA256MSG1 X11, X10
	ROUNDS(96(AX), X1, X2, X5)
	EXTEND(X4, X5, X6)
	SHA256MSG1 X5, X4
	ROUNDS(96(AX), X8, X9, X12)
	EXTEND(X11, X12, X13)
	SHA256MSG1 X12, X11
	ROUNDS(112(AX), X1, X2, X6)
	EXTEND(X5, X6, X3)
	SHA256MSG1 X6, X5
	ROUNDS(112(AX), X8, X9, X13)
	EXTEND(X12, X13, X10)
	SHA256MSG1 X13, X12
	ROUNDS(128(AX), X1, X2, X3)
	EXTEND(X6, X3, X4)
	SHA256MSG1 X3, X6
	ROUNDS(128(AX), X8, X9, X10)
	EXTEND(X13, X10, X11)
	SHA256MSG1 X10, X13
	ROUNDS(144(AX), X1, X2, X4)
	EXTEND(X3, X4, X5)
	SHA256MSG1 X4, X3
	ROUNDS(144(AX), X8, X9, X11)
	EXTEND(X10, X11, X12)
	SHA256MSG1 X11, X10
	ROUNDS(160(AX), X1, X2, X5)
	EXTEND(X4, X5, X6)
	SHA256MSG1 X5, X4
	ROUNDS(160(AX), X8, X9, X12)
	EXTEND(X11, X12, X13)
	SHA256MSG1 X12, X11
	ROUNDS(176(AX), X1, X2, X6)
	EXTEND(X5, X6, X3)
	SHA256MSG1 X6, X5
	ROUNDS(176(AX), X8, X9, X13)
	EXTEND(X12, X13, X10)
	SHA256MSG1 X13, X12
	ROUNDS(192(AX), X1, X2, X3)
	EXTEND(X6, X3, X4)
	SHA256MSG1 X3, X6
	ROUNDS(192(AX), X8, X9, X10)
	EXTEND(X13, X10, X11)
	SHA256MSG1 X10, X13
	ROUNDS(208(AX), X1, X2, X4)
	EXTEND(X3, X4, X5)
	ROUNDS(208(AX), X8, X9, X11)
	EXTEND(X10, X11, X12)
	ROUNDS(224(AX), X1, X2, X5)
	EXTEND(X4, X5, X6)
	ROUNDS(224(AX), X8, X9, X12)
	EXTEND(X11, X12, X13)
	ROUNDS(240(AX), X1, X2, X6)
	ROUNDS(240(AX), X8, X9, X13)

	MOVOU save-64(SP), X7
	PADDD X7, X1
	MOVOU save-48(SP), X7
	PADDD X7, X2
	MOVOU save-32(SP), X7
	PADDD X7, X8
	MOVOU save-16(SP), X7
	PADDD X7, X9
	ADDQ $64, R8
	ADDQ $64, R9
	DECQ CX
	JNZ next

	BACK(X1, X2)
	BACK(X8, X9)
	MOVOU X1, (DI)
	MOVOU X2, 16(DI)
	MOVOU X8, (SI)
	MOVOU X9, 16(SI)
	RET
