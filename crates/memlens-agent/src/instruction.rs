//! The x86-64 instructions that functions begin with: how long they are, and what in them depends on where they stand.
//!
//! An allow-list, by Intel's manual (volume 2, appendix A). What is not in it is refused, and with it the function: a call is, for its return
//! address would be elsewhere, and every form of control flow but direct jumps.

/// The longest instruction that the processor takes.
const LONGEST: usize = 15;

/// What depends on where an instruction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing: it can be copied.
    Nowhere,
    /// The four bytes at this offset are the distance from the instruction's end to its operand.
    Data(usize),
    /// It jumps this far from its end: always, or on the condition that these four bits name.
    Jump(Option<u8>, i32),
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Bytes.
    pub length: usize,
    /// What depends on where it stands.
    pub target: Target,
}

/// `endbr64`, which does nothing here.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// The instruction that `bytes` begin with; `None` if it is none of those that are known, or is cut off.
pub fn decode(bytes: &[u8]) -> Option<Instruction> {
    if bytes.starts_with(&ENDBR64) {
        return Some(Instruction { length: ENDBR64.len(), target: Target::Nowhere });
    }
    let mut cursor = Cursor { bytes, at: 0 };
    let mut has_16_bits = false;
    let mut opcode = cursor.byte()?;
    // Operand size, and %fs for thread-local data; compilers pad instructions by repeating the first.
    while matches!(opcode, 0x66 | 0x64) {
        has_16_bits |= opcode == 0x66;
        opcode = cursor.byte()?;
    }
    let mut has_64_bits = false;
    if opcode & 0xf0 == 0x40 {
        has_64_bits = opcode & 8 != 0;
        opcode = cursor.byte()?;
    }
    let target = cursor.body(
        opcode,
        if has_64_bits {
            8
        } else if has_16_bits {
            2
        } else {
            4
        },
    )?;
    (cursor.at <= bytes.len().min(LONGEST)).then_some(Instruction { length: cursor.at, target })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn distance(&mut self, width: usize) -> Option<i32> {
        let bytes = self.bytes.get(self.at..self.at + width)?;
        self.at += width;
        match *bytes {
            [byte] => Some(i32::from(byte as i8)),
            _ => Some(i32::from_le_bytes(bytes.try_into().ok()?)),
        }
    }

    fn jump(&mut self, condition: Option<u8>, width: usize) -> Option<Target> {
        Some(Target::Jump(condition, self.distance(width)?))
    }

    /// What follows the opcode. `width` is the operands'.
    fn body(&mut self, opcode: u8, width: usize) -> Option<Target> {
        let immediate = width.min(4);
        match opcode {
            0x0f => self.two_bytes(),
            // add, or, adc, sbb, and, sub, xor, cmp.
            0x00..=0x3f => match opcode & 7 {
                0..=3 => self.operand(0),
                4 => self.plain(1),
                5 => self.plain(immediate),
                _ => None,
            },
            // push, pop, nop.
            0x50..=0x5f | 0x90 => self.plain(0),
            0x68 => self.plain(immediate),
            0x6a | 0xa8 | 0xb0..=0xb7 => self.plain(1),
            0xa9 => self.plain(immediate),
            0xb8..=0xbf => self.plain(width),
            // movslq, test, xchg, mov, lea; shifts.
            0x63 | 0x84..=0x8b | 0x8d | 0xd0..=0xd3 => self.operand(0),
            0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => self.operand(1),
            0x69 | 0x81 | 0xc7 => self.operand(immediate),
            // test has an immediate; not, neg, mul and div have none.
            0xf6 | 0xf7 => {
                let is_test = self.register()? < 2;
                self.operand(if !is_test {
                    0
                } else if opcode == 0xf6 {
                    1
                } else {
                    immediate
                })
            }
            // inc, dec, push; the others are calls and jumps.
            0xff if matches!(self.register()?, 0 | 1 | 6) => self.operand(0),
            0x70..=0x7f => self.jump(Some(opcode & 15), 1),
            0xeb => self.jump(None, 1),
            0xe9 => self.jump(None, 4),
            _ => None,
        }
    }

    fn two_bytes(&mut self) -> Option<Target> {
        match self.byte()? {
            condition @ 0x80..=0x8f => self.jump(Some(condition & 15), 4),
            // movups, movaps, nop, cmov, movd, movdqa, xorps, pxor, set, imul, movzx, movsx.
            0x10 | 0x11 | 0x28 | 0x29 | 0x1f | 0x40..=0x4f | 0x57 | 0x6e | 0x6f | 0x7e | 0x7f | 0x90..=0x9f | 0xaf => {
                self.operand(0)
            }
            0xb6 | 0xb7 | 0xbe | 0xbf | 0xd6 | 0xef => self.operand(0),
            _ => None,
        }
    }

    fn plain(&mut self, immediate: usize) -> Option<Target> {
        self.at += immediate;
        Some(Target::Nowhere)
    }

    /// The middle field of the next byte, ModRM.
    fn register(&self) -> Option<u8> {
        self.bytes.get(self.at).map(|modrm| modrm >> 3 & 7)
    }

    /// ModRM, SIB and displacement, then `immediate` bytes.
    fn operand(&mut self, immediate: usize) -> Option<Target> {
        let modrm = self.byte()?;
        let (mode, register) = (modrm >> 6, modrm & 7);
        let base = if mode != 3 && register == 4 { self.byte()? & 7 } else { register };
        let displacement = match mode {
            0 if base == 5 => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        let target = if mode == 0 && register == 5 { Target::Data(self.at) } else { Target::Nowhere };
        self.at += displacement + immediate;
        Some(target)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    fn check(bytes: &[u8], length: usize, target: Target) {
        assert_eq!(decode(bytes), Some(Instruction { length, target }), "{bytes:02x?}");
        assert_eq!(decode(&bytes[..length - 1]), None, "cut off: {bytes:02x?}");
    }

    /// As objdump shows them at the heads of jemalloc's and mimalloc's functions in wheels.
    #[test]
    fn heads_of_functions() {
        check(&[0x55], 1, Target::Nowhere); // push %rbp
        check(&[0x41, 0x57], 2, Target::Nowhere); // push %r15
        check(&[0x48, 0x89, 0xfd], 3, Target::Nowhere); // mov %rdi,%rbp
        check(&[0x4c, 0x8d, 0x54, 0x24, 0x08], 5, Target::Nowhere); // lea 0x8(%rsp),%r10
        check(&[0x48, 0x83, 0xe4, 0xe0], 4, Target::Nowhere); // and $-32,%rsp
        check(&[0x41, 0xff, 0x72, 0xf8], 4, Target::Nowhere); // push -0x8(%r10)
        check(&[0x49, 0x81, 0xe4, 0, 0, 0, 0xc0], 7, Target::Nowhere); // and $-1073741824,%r12
        check(&[0x48, 0x81, 0xec, 0xd8, 1, 0, 0], 7, Target::Nowhere); // sub $0x1d8,%rsp
        check(&[0x4c, 0x63, 0xee], 3, Target::Nowhere); // movslq %esi,%r13
        check(&[0x48, 0x8b, 0x05, 0x19, 0x1f, 0x3e, 0x01], 7, Target::Data(3)); // mov x(%rip),%rax
        check(&[0x66, 0x48, 0x8d, 0x3d, 0xc4, 0xcd, 0x11, 0], 8, Target::Data(4)); // data16 lea x(%rip),%rdi
        check(&[0x0f, 0x84, 0x97, 0, 0, 0], 6, Target::Jump(Some(4), 0x97)); // je
        check(&[0x74, 0xfe], 2, Target::Jump(Some(4), -2)); // je
        check(&[0xe9, 0x9b, 0xb3, 0x83, 0], 5, Target::Jump(None, 0x83_b39b)); // jmp
        check(&[0xf3, 0x0f, 0x1e, 0xfa], 4, Target::Nowhere); // endbr64
        check(&[0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8], 10, Target::Nowhere); // movabs
        check(&[0x66, 0xb8, 1, 2], 4, Target::Nowhere); // mov $0x201,%ax
        check(&[0xf6, 0x05, 1, 0, 0, 0, 1], 7, Target::Data(2)); // testb $1,x(%rip)
        check(&[0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0], 9, Target::Nowhere); // mov %fs:0x28,%rax
        check(&[0x80, 0x3d, 1, 0, 0, 0, 0], 7, Target::Data(2)); // cmpb $0,x(%rip)
    }

    #[test]
    fn what_cannot_be_moved() {
        for bytes in [&[0xe8, 0, 0, 0, 0][..], &[0xff, 0x25, 0, 0, 0, 0], &[0xc3], &[0xcc], &[0x0f, 0x05], &[0xe3, 0]] {
            assert_eq!(decode(bytes), None, "{bytes:02x?}");
        }
    }
}
