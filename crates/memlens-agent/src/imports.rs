//! The functions that a loaded library takes from others: their names, and the places where the loader has put their addresses.
use core::ffi::{CStr, c_char, c_int, c_void};
use libc::Elf64_Sym;

/// A library's dynamic section: tags and values.
pub type Dynamic = *const [u64; 2];

/// Tags of a dynamic section (`elf.h`).
const DT_NEEDED: u64 = 1;
const DT_PLTRELSZ: u64 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RPATH: u64 = 15;
const DT_JMPREL: u64 = 23;
const DT_RELACOUNT: u64 = 0x6fff_fff9;
/// Relocations that fill in a function's address.
const R_X86_64_64: u64 = 1;
const R_X86_64_GLOB_DAT: u64 = 6;
const R_X86_64_JUMP_SLOT: u64 = 7;

/// `elf.h`: Elf64_Rela.
#[repr(C)]
struct Relocation {
    offset: u64,
    info: u64,
    addend: i64,
}

/// Shows each imported function's name and the place for its address.
///
/// # Safety
/// `base` and `dynamic` must be those of a library that stays loaded meanwhile.
pub unsafe fn imports(base: usize, dynamic: Dynamic, mut visit: impl FnMut(&CStr, *const *mut c_void)) {
    let of = |tag| entry(dynamic, tag).unwrap_or(0) as usize;
    let (symbols, strings) = (of(DT_SYMTAB), of(DT_STRTAB));
    // glibc turns these into addresses where it loads a library; of what it has not loaded itself (the vDSO) they are offsets.
    if symbols < base || strings < base || symbols == 0 || strings == 0 {
        return;
    }
    // The first of them, hundreds of thousands in a large library, name no symbol.
    let unnamed = of(DT_RELACOUNT);
    for (table, bytes, first) in [(of(DT_RELA), of(DT_RELASZ), unnamed), (of(DT_JMPREL), of(DT_PLTRELSZ), 0)] {
        for index in first..if table == 0 { 0 } else { bytes / size_of::<Relocation>() } {
            // SAFETY: the library's own table, which has so many entries.
            let relocation = unsafe { &*(table as *const Relocation).add(index) };
            // SAFETY: its symbols and their names.
            if let Some(name) = unsafe { imported_name(relocation, symbols, strings) } {
                visit(name, (base + relocation.offset as usize) as *const *mut c_void);
            }
        }
    }
}

/// The names of the libraries that a library needs.
///
/// # Safety
/// As [`imports`].
pub unsafe fn needed(base: usize, dynamic: Dynamic) -> impl Iterator<Item = *const c_char> {
    let strings = entry(dynamic, DT_STRTAB).filter(|&strings| strings as usize >= base);
    let of_name = move |entry: [u64; 2]| strings.map(|strings| (strings + entry[1]) as *const c_char);
    entries(dynamic).filter(|entry| entry[0] == DT_NEEDED).filter_map(of_name)
}

/// Whether what a library opens is looked for where it says, down to what that needs in turn. (`DT_RUNPATH`, of today's linkers, is for its own needs.)
pub fn has_inherited_path(dynamic: Dynamic) -> bool {
    entry(dynamic, DT_RPATH).is_some()
}

/// A dynamic section's entries: tag and value.
fn entries(dynamic: Dynamic) -> impl Iterator<Item = [u64; 2]> {
    let count = if dynamic.is_null() { 0 } else { usize::MAX };
    // SAFETY: a dynamic section ends with an entry of tag 0.
    let entries = (0..count).map(move |index| unsafe { dynamic.add(index).read() });
    entries.take_while(|entry| entry[0] != 0)
}

/// The value of the first entry with this tag.
fn entry(dynamic: Dynamic, tag: u64) -> Option<u64> {
    entries(dynamic).find(|entry| entry[0] == tag).map(|entry| entry[1])
}

/// The name of the function that the relocation fills in, if it is not the library's own.
///
/// # Safety
/// `symbols` and `strings` must be the tables that the relocation refers to.
unsafe fn imported_name(relocation: &Relocation, symbols: usize, strings: usize) -> Option<&'static CStr> {
    let kind = relocation.info & 0xffff_ffff;
    if !matches!(kind, R_X86_64_64 | R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT) || relocation.addend != 0 {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let symbol = (symbols as *const Elf64_Sym).add((relocation.info >> 32) as usize).read();
        (symbol.st_shndx == 0).then(|| CStr::from_ptr((strings + symbol.st_name as usize) as *const c_char))
    }
}

/// This process' memory as a file, which can be written where a page is read-only (`-z relro`).
pub struct OwnMemory(c_int);

impl OwnMemory {
    /// Opens it.
    pub fn open() -> Option<Self> {
        let flags = libc::O_RDWR | libc::O_CLOEXEC;
        // SAFETY: a path; the descriptor closes itself.
        let descriptor =
            unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/proc/self/mem".as_ptr(), flags, 0) };
        (descriptor >= 0).then_some(Self(descriptor as c_int))
    }

    /// Puts a pointer where the loader has put one.
    pub fn write(&self, slot: *const *mut c_void, value: *mut c_void) {
        // SAFETY: eight bytes of our own to a place for a pointer. Where the kernel refuses, the library stays unseen.
        unsafe {
            libc::syscall(libc::SYS_pwrite64, self.0, (&raw const value), size_of::<*mut c_void>(), slot as usize)
        };
    }
}

impl Drop for OwnMemory {
    fn drop(&mut self) {
        // SAFETY: our own descriptor.
        unsafe { libc::syscall(libc::SYS_close, self.0) };
    }
}
