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

// Sixteen messages at a time: a register has one word of each. Z0 to Z15 are the schedule, Z16 to
// Z23 the state, and the others room.

// ROWS reads sixteen words of four messages, and leaves in each of four registers four words of
// every message. Z24 to Z27 are room, Z31 turns the bytes of words round.
#define ROWS(at, a, b, c, d) \
	MOVQ at+0(SI), R8 \
	MOVQ at+8(SI), R9 \
	MOVQ at+16(SI), R10 \
	MOVQ at+24(SI), R11 \
	VMOVDQU32 (R8)(DX*1), a \
	VMOVDQU32 (R9)(DX*1), b \
	VMOVDQU32 (R10)(DX*1), c \
	VMOVDQU32 (R11)(DX*1), d \
	VPSHUFB Z31, a, a \
	VPSHUFB Z31, b, b \
	VPSHUFB Z31, c, c \
	VPSHUFB Z31, d, d \
	VPUNPCKLDQ b, a, Z24 \
	VPUNPCKHDQ b, a, Z25 \
	VPUNPCKLDQ d, c, Z26 \
	VPUNPCKHDQ d, c, Z27 \
	VPUNPCKLQDQ Z26, Z24, a \
	VPUNPCKHQDQ Z26, Z24, b \
	VPUNPCKLQDQ Z27, Z25, c \
	VPUNPCKHQDQ Z27, Z25, d

// COLUMNS finishes what ROWS has begun: of a register of each four messages come words of all.
#define COLUMNS(a, b, c, d) \
	VSHUFI32X4 $0x88, b, a, Z24 \
	VSHUFI32X4 $0xdd, b, a, Z25 \
	VSHUFI32X4 $0x88, d, c, Z26 \
	VSHUFI32X4 $0xdd, d, c, Z27 \
	VSHUFI32X4 $0x88, Z26, Z24, a \
	VSHUFI32X4 $0x88, Z27, Z25, b \
	VSHUFI32X4 $0xdd, Z26, Z24, c \
	VSHUFI32X4 $0xdd, Z27, Z25, d

// ROUND is a round on the words w (FIPS 180-4, section 6.2.2): d and h change, and take the next
// names in the next round. Both are added to in the order in which what is added is there, so that
// from e to the next e, and from a to the next a, there are three instructions one behind the other.
#define ROUND(k, w, a, b, c, d, e, f, g, h) \
	VPADDD w, h, h \
	VPADDD.BCST k(AX), h, h \
	VPADDD h, d, d \
	VPRORD $6, e, Z24 \
	VPRORD $11, e, Z25 \
	VPRORD $25, e, Z26 \
	VMOVDQA32 e, Z27 \
	VPTERNLOGD $0xca, g, f, Z27 \
	VPTERNLOGD $0x96, Z26, Z25, Z24 \
	VPADDD Z27, d, d \
	VPADDD Z27, h, h \
	VPADDD Z24, d, d \
	VMOVDQA32 a, Z31 \
	VPTERNLOGD $0xe8, c, b, Z31 \
	VPRORD $2, a, Z28 \
	VPRORD $13, a, Z29 \
	VPRORD $22, a, Z30 \
	VPADDD Z31, h, h \
	VPADDD Z24, h, h \
	VPTERNLOGD $0x96, Z30, Z29, Z28 \
	VPADDD Z28, h, h

// STRETCH makes of the words w those sixteen rounds on; w1, w9 and w14 are so many behind them.
#define STRETCH(w, w1, w9, w14) \
	VPRORD $7, w1, Z24 \
	VPRORD $18, w1, Z25 \
	VPSRLD $3, w1, Z26 \
	VPRORD $17, w14, Z28 \
	VPRORD $19, w14, Z29 \
	VPSRLD $10, w14, Z30 \
	VPTERNLOGD $0x96, Z26, Z25, Z24 \
	VPTERNLOGD $0x96, Z30, Z29, Z28 \
	VPADDD w9, w, w \
	VPADDD Z24, w, w \
	VPADDD Z28, w, w


// SIXTEEN is sixteen rounds; k is where their constants are.
#define SIXTEEN(k) \
	ROUND(k+0, Z0, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23) \
	ROUND(k+4, Z1, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22) \
	ROUND(k+8, Z2, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21) \
	ROUND(k+12, Z3, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20) \
	ROUND(k+16, Z4, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19) \
	ROUND(k+20, Z5, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18) \
	ROUND(k+24, Z6, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17) \
	ROUND(k+28, Z7, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16) \
	ROUND(k+32, Z8, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23) \
	ROUND(k+36, Z9, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22) \
	ROUND(k+40, Z10, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21) \
	ROUND(k+44, Z11, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20) \
	ROUND(k+48, Z12, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19) \
	ROUND(k+52, Z13, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18) \
	ROUND(k+56, Z14, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17) \
	ROUND(k+60, Z15, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16)

// FURTHER is sixteen on words that are made meanwhile.
#define FURTHER(k) \
	STRETCH(Z0, Z1, Z9, Z14) \
	ROUND(k+0, Z0, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23) \
	STRETCH(Z1, Z2, Z10, Z15) \
	ROUND(k+4, Z1, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22) \
	STRETCH(Z2, Z3, Z11, Z0) \
	ROUND(k+8, Z2, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21) \
	STRETCH(Z3, Z4, Z12, Z1) \
	ROUND(k+12, Z3, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20) \
	STRETCH(Z4, Z5, Z13, Z2) \
	ROUND(k+16, Z4, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19) \
	STRETCH(Z5, Z6, Z14, Z3) \
	ROUND(k+20, Z5, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18) \
	STRETCH(Z6, Z7, Z15, Z4) \
	ROUND(k+24, Z6, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17) \
	STRETCH(Z7, Z8, Z0, Z5) \
	ROUND(k+28, Z7, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16) \
	STRETCH(Z8, Z9, Z1, Z6) \
	ROUND(k+32, Z8, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23) \
	STRETCH(Z9, Z10, Z2, Z7) \
	ROUND(k+36, Z9, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22) \
	STRETCH(Z10, Z11, Z3, Z8) \
	ROUND(k+40, Z10, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21) \
	STRETCH(Z11, Z12, Z4, Z9) \
	ROUND(k+44, Z11, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20) \
	STRETCH(Z12, Z13, Z5, Z10) \
	ROUND(k+48, Z12, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19) \
	STRETCH(Z13, Z14, Z6, Z11) \
	ROUND(k+52, Z13, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18) \
	STRETCH(Z14, Z15, Z7, Z12) \
	ROUND(k+56, Z14, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17) \
	STRETCH(Z15, Z0, Z8, Z13) \
	ROUND(k+60, Z15, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16)

// DIGESTS writes four words of each digest, from at on.
#define DIGESTS(at, a, b, c, d) \
	VPSHUFB Z31, a, a \
	VPSHUFB Z31, b, b \
	VPSHUFB Z31, c, c \
	VPSHUFB Z31, d, d \
	VPUNPCKLDQ b, a, Z24 \
	VPUNPCKHDQ b, a, Z25 \
	VPUNPCKLDQ d, c, Z26 \
	VPUNPCKHDQ d, c, Z27 \
	VPUNPCKLQDQ Z26, Z24, a \
	VPUNPCKHQDQ Z26, Z24, b \
	VPUNPCKLQDQ Z27, Z25, c \
	VPUNPCKHQDQ Z27, Z25, d \
	VEXTRACTI32X4 $0, a, at+0(DI) \
	VEXTRACTI32X4 $0, b, at+32(DI) \
	VEXTRACTI32X4 $0, c, at+64(DI) \
	VEXTRACTI32X4 $0, d, at+96(DI) \
	VEXTRACTI32X4 $1, a, at+128(DI) \
	VEXTRACTI32X4 $1, b, at+160(DI) \
	VEXTRACTI32X4 $1, c, at+192(DI) \
	VEXTRACTI32X4 $1, d, at+224(DI) \
	VEXTRACTI32X4 $2, a, at+256(DI) \
	VEXTRACTI32X4 $2, b, at+288(DI) \
	VEXTRACTI32X4 $2, c, at+320(DI) \
	VEXTRACTI32X4 $2, d, at+352(DI) \
	VEXTRACTI32X4 $3, a, at+384(DI) \
	VEXTRACTI32X4 $3, b, at+416(DI) \
	VEXTRACTI32X4 $3, c, at+448(DI) \
	VEXTRACTI32X4 $3, d, at+480(DI)

// func sixteen(out *[16][32]byte, messages *[16]*byte, n int)
//
// Between blocks out has the state.
TEXT ·sixteen(SB), NOSPLIT, $0-24
	MOVQ out+0(FP), DI
	MOVQ messages+8(FP), SI
	MOVQ n+16(FP), CX
	LEAQ k<>(SB), AX
	LEAQ ·initial(SB), BX
	XORQ DX, DX
	VPBROADCASTD 0(BX), Z16
	VPBROADCASTD 4(BX), Z17
	VPBROADCASTD 8(BX), Z18
	VPBROADCASTD 12(BX), Z19
	VPBROADCASTD 16(BX), Z20
	VPBROADCASTD 20(BX), Z21
	VPBROADCASTD 24(BX), Z22
	VPBROADCASTD 28(BX), Z23

more:
	VMOVDQU32 Z16, 0(DI)
	VMOVDQU32 Z17, 64(DI)
	VMOVDQU32 Z18, 128(DI)
	VMOVDQU32 Z19, 192(DI)
	VMOVDQU32 Z20, 256(DI)
	VMOVDQU32 Z21, 320(DI)
	VMOVDQU32 Z22, 384(DI)
	VMOVDQU32 Z23, 448(DI)
	VBROADCASTI32X4 flip<>(SB), Z31
	ROWS(0, Z0, Z1, Z2, Z3)
	ROWS(32, Z4, Z5, Z6, Z7)
	ROWS(64, Z8, Z9, Z10, Z11)
	ROWS(96, Z12, Z13, Z14, Z15)
	COLUMNS(Z0, Z4, Z8, Z12)
	COLUMNS(Z1, Z5, Z9, Z13)
	COLUMNS(Z2, Z6, Z10, Z14)
	COLUMNS(Z3, Z7, Z11, Z15)
	SIXTEEN(0)
	FURTHER(64)
	FURTHER(128)
	FURTHER(192)
	VPADDD 0(DI), Z16, Z16
	VPADDD 64(DI), Z17, Z17
	VPADDD 128(DI), Z18, Z18
	VPADDD 192(DI), Z19, Z19
	VPADDD 256(DI), Z20, Z20
	VPADDD 320(DI), Z21, Z21
	VPADDD 384(DI), Z22, Z22
	VPADDD 448(DI), Z23, Z23
	ADDQ $64, DX
	DECQ CX
	JNZ more

	VBROADCASTI32X4 flip<>(SB), Z31
	DIGESTS(0, Z16, Z17, Z18, Z19)
	DIGESTS(16, Z20, Z21, Z22, Z23)
	VZEROUPPER
	RET
