//! The libraries of this process: which one holds an address, and what the symbol tables in its file say.
//!
//! The file is read piece by piece with plain system calls into a buffer that is given back: nothing of it stays in memory. A table of strings is
//! gone through once, for the wanted names; then the table of symbols, for the functions that have them. (35 MB of names in polars 2.1.)
use crate::imports::Dynamic;
use crate::process_memory;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{NonNull, null};
use libc::{Elf64_Ehdr, Elf64_Shdr, Elf64_Sym};

const BUFFER: usize = 256 << 10;
const SYMBOL: usize = size_of::<Elf64_Sym>();
const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
const STT_FUNC: u8 = 2;
/// More sections than any linker makes of a library.
const MAX_SECTIONS: usize = 4096;
/// The longest name that is looked for, or told apart.
pub const LONGEST_NAME: usize = 96;

/// A library, or the program itself.
#[derive(Clone, Copy)]
pub struct Library {
    /// What its file's addresses are counted from.
    pub base: usize,
    /// The segment that holds the address that was asked for: where it lies, how long it is, and where in the file.
    text: usize,
    text_bytes: usize,
    text_offset: u64,
    name: *const c_char,
    /// Its dynamic section; null if it has none.
    pub dynamic: Dynamic,
}

/// How many libraries were taken out of this process so far: when that has changed, another may lie where one was.
pub fn unloaded() -> u64 {
    unsafe extern "C" fn read(library: *mut libc::dl_phdr_info, _: usize, count: *mut c_void) -> c_int {
        // SAFETY: the loader's description of a library, and the number below.
        unsafe { *count.cast::<u64>() = (*library).dlpi_subs };
        1
    }
    let mut count = 0u64;
    // SAFETY: `read` takes a u64.
    unsafe { libc::dl_iterate_phdr(Some(read), (&raw mut count).cast()) };
    count
}

struct Search {
    address: usize,
    found: Option<Library>,
}

impl Library {
    /// The one whose executable segment holds the address.
    pub fn holding(address: usize) -> Option<Self> {
        let mut search = Search { address, found: None };
        // SAFETY: `visit` takes a Search.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
        search.found
    }

    /// Where its executable segment begins and ends.
    pub fn text(&self) -> (usize, usize) {
        (self.text, self.text + self.text_bytes)
    }

    /// Whether the address is in its executable segment.
    pub fn holds(&self, address: usize, bytes: usize) -> bool {
        address.checked_sub(self.text).is_some_and(|at| at <= self.text_bytes && bytes <= self.text_bytes - at)
    }

    /// The path of its file; `None` of the program itself. The loader keeps it as long as the library is loaded.
    pub fn path(&self) -> Option<&CStr> {
        // SAFETY: the loader's name of a library that is loaded, for code of it has called us.
        Some(unsafe { CStr::from_ptr(self.name) }).filter(|path| !path.is_empty())
    }

    /// Opens its file.
    pub fn open(&self) -> Option<File> {
        let path = self.path().unwrap_or(c"/proc/self/exe");
        // SAFETY: a path, and a read-only descriptor that closes itself.
        let descriptor = unsafe {
            libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC, 0)
        };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        (descriptor >= 0).then(|| Some(File { descriptor, buffer: process_memory::map(BUFFER, flags, -1)? }))?
    }

    /// Whether `bytes` stand at `address` in the file as well: so it is the file that was loaded, and nobody has changed them.
    pub fn agrees(&self, file: &File, address: usize, bytes: &[u8]) -> bool {
        let mut there = [0u8; LONGEST_NAME];
        let Some(there) = there.get_mut(..bytes.len()) else { return false };
        let offset = self.text_offset + (address - self.text) as u64;
        file.read_into(offset, there) && there == bytes
    }
}

/// The dynamic section of a library as the loader describes it.
pub fn dynamic_of(library: &libc::dl_phdr_info) -> Option<Dynamic> {
    if library.dlpi_phdr.is_null() {
        return None;
    }
    // SAFETY: the loader says how many segments there are.
    let segments = unsafe { core::slice::from_raw_parts(library.dlpi_phdr, usize::from(library.dlpi_phnum)) };
    let segment = segments.iter().find(|segment| segment.p_type == libc::PT_DYNAMIC)?;
    Some((library.dlpi_addr + segment.p_vaddr) as usize as Dynamic)
}

/// Looks at one library; 1 ends the search.
unsafe extern "C" fn visit(library: *mut libc::dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
    // SAFETY: the loader's description of a library, and the Search of `holding`.
    let (library, search) = unsafe { (&*library, &mut *search.cast::<Search>()) };
    if library.dlpi_phdr.is_null() || library.dlpi_name.is_null() {
        return 0;
    }
    // SAFETY: the loader says how many there are.
    let segments = unsafe { core::slice::from_raw_parts(library.dlpi_phdr, usize::from(library.dlpi_phnum)) };
    let base = library.dlpi_addr as usize;
    let holds = |segment: &&libc::Elf64_Phdr| {
        let at = search.address.wrapping_sub(base + segment.p_vaddr as usize);
        segment.p_type == libc::PT_LOAD
            && segment.p_flags & (libc::PF_X | libc::PF_W) == libc::PF_X
            && at < segment.p_filesz as usize
    };
    search.found = segments.iter().find(holds).map(|segment| Library {
        base,
        text: base + segment.p_vaddr as usize,
        text_bytes: segment.p_filesz as usize,
        text_offset: segment.p_offset,
        name: library.dlpi_name,
        dynamic: dynamic_of(library).unwrap_or(null()),
    });
    c_int::from(search.found.is_some())
}

/// A table of symbols and its strings, as offsets and lengths in the file.
#[derive(Clone, Copy)]
pub struct Table {
    symbols: (u64, u64),
    strings: (u64, u64),
}

/// A function as a table of symbols has it.
#[derive(Clone, Copy)]
pub struct Symbol {
    /// Where its name begins in the table's strings.
    pub name: u32,
    /// Its address, counted from [`Library::base`].
    pub address: usize,
    /// Its length in bytes.
    pub size: usize,
}

/// The file of a library.
pub struct File {
    descriptor: i64,
    buffer: NonNull<u8>,
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: our own descriptor and mapping.
        unsafe {
            libc::syscall(libc::SYS_close, self.descriptor);
            libc::syscall(libc::SYS_munmap, self.buffer.as_ptr(), BUFFER);
        }
    }
}

impl File {
    /// Reads as much as there is, at most the buffer's length.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            let rest = &mut into[done..];
            // SAFETY: our own descriptor, and a buffer of that length.
            let count = unsafe {
                let offset = offset.saturating_add(done as u64);
                libc::syscall(libc::SYS_pread64, self.descriptor, rest.as_mut_ptr(), rest.len(), offset)
            };
            if count <= 0 {
                break;
            }
            done += count as usize;
        }
        done
    }

    fn read_into(&self, offset: u64, into: &mut [u8]) -> bool {
        self.read_at(offset, into) == into.len()
    }

    /// A part of the file, in the buffer.
    fn piece(&mut self, offset: u64, bytes: usize) -> &[u8] {
        // SAFETY: the buffer is ours, and `self` is borrowed while it is looked at.
        let buffer = unsafe { core::slice::from_raw_parts_mut(self.buffer.as_ptr(), bytes.min(BUFFER)) };
        let length = self.read_at(offset, buffer);
        &buffer[..length]
    }

    fn structure<T: Copy>(&self, offset: u64) -> Option<T> {
        let mut value = core::mem::MaybeUninit::<T>::zeroed();
        // SAFETY: a buffer of its size; it is read as what it is, of which all bytes are set then.
        let bytes = unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
        // SAFETY: ELF structures are integers, for which every pattern of bits is valid.
        self.read_into(offset, bytes).then(|| unsafe { value.assume_init() })
    }

    /// The first words of the section of this name.
    pub fn section_words<const N: usize>(&self, name: &[u8]) -> Option<[u64; N]> {
        let head = self.structure::<Elf64_Ehdr>(0).filter(|head| head.e_ident.starts_with(b"\x7fELF\x02\x01"))?;
        let section =
            |index: usize| self.structure::<Elf64_Shdr>(head.e_shoff + (index * size_of::<Elf64_Shdr>()) as u64);
        let names = section(usize::from(head.e_shstrndx))?;
        let is_named = |found: &Elf64_Shdr| {
            let mut bytes = [0; LONGEST_NAME];
            let length = self.read_at(names.sh_offset + u64::from(found.sh_name), &mut bytes);
            bytes[..length].strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0))
        };
        let count = usize::from(head.e_shnum).min(MAX_SECTIONS);
        let found = (0..count).filter_map(section).find(is_named)?;
        (found.sh_size >= size_of::<[u64; N]>() as u64).then(|| self.structure(found.sh_offset))?
    }

    /// Its table of this type, if it has one.
    fn table(&self, wanted: u32) -> Option<Table> {
        let head = self.structure::<Elf64_Ehdr>(0).filter(|head| head.e_ident.starts_with(b"\x7fELF\x02\x01"))?;
        let section =
            |index: usize| self.structure::<Elf64_Shdr>(head.e_shoff + (index * size_of::<Elf64_Shdr>()) as u64);
        let count = usize::from(head.e_shnum).min(MAX_SECTIONS);
        let symbols = (0..count).filter_map(section).find(|section| section.sh_type == wanted)?;
        let strings = section(symbols.sh_link as usize)?;
        Some(Table { symbols: (symbols.sh_offset, symbols.sh_size), strings: (strings.sh_offset, strings.sh_size) })
    }

    /// All symbols if the file was not stripped, else those for the dynamic linker.
    pub fn symbols(&self) -> Option<Table> {
        self.table(SHT_SYMTAB).or_else(|| self.table(SHT_DYNSYM))
    }

    /// Shows each string of the table, with its end's offset in it. Of those that are longer than [`LONGEST_NAME`] only the end may be shown.
    pub fn each_string(&mut self, table: Table, mut visit: impl FnMut(&[u8], u64)) {
        let (start, length) = table.strings;
        let mut at = 0;
        while at < length {
            let piece = self.piece(start + at, (length - at).min(BUFFER as u64) as usize);
            let mut begin = 0;
            while let Some(bytes) = next_zero(&piece[begin..]) {
                visit(&piece[begin..begin + bytes], at + (begin + bytes) as u64);
                begin += bytes + 1;
            }
            // What was cut off is shown again with the next piece: its last bytes are what counts.
            let left = (piece.len() - begin).min(LONGEST_NAME);
            match piece.len() - left {
                0 => return,
                seen => at += seen as u64,
            }
        }
    }

    /// Shows each function of the table.
    pub fn each_function(&mut self, table: Table, mut visit: impl FnMut(Symbol)) {
        let (start, length) = table.symbols;
        let mut at = 0;
        while at < length {
            let piece = self.piece(start + at, (length - at).min((BUFFER / SYMBOL * SYMBOL) as u64) as usize);
            if piece.len() < SYMBOL {
                return;
            }
            for bytes in piece.chunks_exact(SYMBOL) {
                // SAFETY: as many bytes as a symbol has, all integers.
                let symbol = unsafe { bytes.as_ptr().cast::<Elf64_Sym>().read_unaligned() };
                if symbol.st_info & 15 == STT_FUNC && symbol.st_shndx != 0 {
                    let (address, size) = (symbol.st_value as usize, symbol.st_size as usize);
                    visit(Symbol { name: symbol.st_name, address, size });
                }
            }
            at += piece.len() as u64;
        }
    }

    /// The name of the function that holds an address, counted as [`Symbol::address`] is: of the last that begins before it. Cut off at [`LONGEST_NAME`].
    pub fn name_of(&mut self, table: Table, address: usize) -> [u8; LONGEST_NAME] {
        let mut nearest = None::<Symbol>;
        self.each_function(table, |symbol| {
            if symbol.address <= address && nearest.is_none_or(|nearest| nearest.address < symbol.address) {
                nearest = Some(symbol);
            }
        });
        let mut name = [0; LONGEST_NAME];
        if let Some(nearest) = nearest {
            self.read_at(table.strings.0 + u64::from(nearest.name), &mut name);
        }
        name
    }
}

/// How many bytes stand before the first zero.
fn next_zero(bytes: &[u8]) -> Option<usize> {
    // SAFETY: memchr looks at as many bytes as there are.
    let at = unsafe { libc::memchr(bytes.as_ptr().cast(), 0, bytes.len()) };
    (!at.is_null()).then(|| at as usize - bytes.as_ptr() as usize)
}
