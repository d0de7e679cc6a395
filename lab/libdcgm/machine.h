/* What this machine has: the GPUs of /etc/lab/gpus.json and the DCGM of /etc/lab/dcgm.json, or of the files that
 * LAB_GPUS and LAB_DCGM name. Without the first there is no driver, without the second DCGM is as it was installed. */
#ifndef MACHINE_H
#define MACHINE_H

enum { MAX_BOARDS = 32, MAX_INSTANCES = 8, WORD = 128 };

/* A compute instance, and the GPU instance that it is in. */
struct instance { char profile[WORD]; int gi, ci; };
struct board {
    int index;
    char uuid[WORD], bus[WORD], model[WORD], serial[WORD];
    struct instance mig[MAX_INSTANCES];
    int instances;
};
struct machine {
    char driver[WORD], version[WORD];
    int has_driver, has_profiling;
    struct board board[MAX_BOARDS];
    int boards;
};

void machine_read(struct machine *into);

/* The board with an index, or NULL. */
const struct board *machine_board(const struct machine *machine, unsigned int index);

/* True if the compute instance at a place is the first of its GPU instance. */
int board_opens_instance(const struct board *board, int place);

#endif
