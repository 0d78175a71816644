/* Linked with callers.c: allocates there. */
void linked(void);

void outer(void) { linked(); }
