/* A type whose tp_traverse is wrong in the way that its instances are told. The collector never tracks them, so that the interpreter lives on. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

typedef struct {
    PyObject_HEAD
    int wrong;
    PyObject *content;
    PyObject *other;
} Broken;

enum { NOTHING, TWICE, NULLS, NEIGHBOURS, RELEASED, NO_OBJECT, CRASH };

static char zeros[64];

static int show_neighbours(visitproc visit, void *arg)
{
    /* Odd, low, of no page, of the kernel, and the code itself. */
    uintptr_t places[] = {1, 8, 4096, 0x123456789ab8, (uintptr_t)-16, (uintptr_t)0xdeadbeefdeadbee8, (uintptr_t)show_neighbours & ~(uintptr_t)7};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int result = visit((PyObject *)places[i], arg);
        if (result)
            return result;
    }
    return 0;
}

static int traverse(PyObject *self, visitproc visit, void *arg)
{
    Broken *broken = (Broken *)self;
    switch (broken->wrong) {
    case NOTHING:
        return 0;
    case TWICE:
        visit(broken->content, arg);
        visit(broken->content, arg);
        return visit(broken->content, arg);
    case NULLS:
        visit(NULL, arg);
        return visit(broken->content, arg);
    case NEIGHBOURS:
        show_neighbours(visit, arg);
        return visit(broken->content, arg);
    case RELEASED:
        visit(broken->other, arg);
        return visit(broken->content, arg);
    case NO_OBJECT:
        visit((PyObject *)zeros, arg);
        return visit(broken->content, arg);
    default:
        return *(volatile int *)16;
    }
}

static void dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((Broken *)self)->content);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot slots[] = {{Py_tp_traverse, traverse}, {Py_tp_dealloc, dealloc}, {0, NULL}};
static PyType_Spec spec = {"broken_traverse.Broken", sizeof(Broken), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};
static PyTypeObject *type;

/* make(wrong, content, other): other is an object that is released at once. */
static PyObject *make(PyObject *module, PyObject *args)
{
    int wrong;
    PyObject *content, *size;
    if (!PyArg_ParseTuple(args, "iOO", &wrong, &content, &size))
        return NULL;
    Broken *broken = PyObject_GC_New(Broken, type);
    if (!broken)
        return NULL;
    broken->wrong = wrong;
    Py_INCREF(content);
    broken->content = content;
    broken->other = PyBytes_FromStringAndSize(NULL, PyLong_AsSsize_t(size));
    Py_XDECREF(broken->other);
    return (PyObject *)broken;
}

static PyMethodDef functions[] = {{"make", make, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "broken_traverse", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_broken_traverse(void)
{
    type = (PyTypeObject *)PyType_FromSpec(&spec);
    return type ? PyModule_Create(&definition) : NULL;
}
