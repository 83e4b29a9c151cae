/* Passes a token around all ranks LAPS times, each adding its rank, then sums a vector over them. */
enum { LAPS = 20, LENGTH = 4096, MPI_COMM_WORLD = 0x44000000, MPI_INT = 0x4c000405, MPI_SUM = 0x58000003 };
int MPI_Init(int *, char ***);
int MPI_Comm_rank(int comm, int *rank);
int MPI_Comm_size(int comm, int *size);
int MPI_Send(const void *from, int count, int type, int to, int tag, int comm);
int MPI_Recv(void *to, int count, int type, int from, int tag, int comm, void *status);
int MPI_Reduce(const void *from, void *to, int count, int type, int operation, int root, int comm);
int MPI_Finalize(void);
int printf(const char *, ...);
char *getenv(const char *);

int main(int argc, char **argv) {
    static int own[LENGTH], sum[LENGTH];
    int rank, size, token = 0, right = 1;

    if (MPI_Init(&argc, &argv)) return 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (getenv("FAILING") && rank == 1) return 3;
    for (int lap = 0; lap < LAPS; lap++) {
        if (rank) MPI_Recv(&token, 1, MPI_INT, rank - 1, lap, MPI_COMM_WORLD, (void *)1);
        token += rank;
        MPI_Send(&token, 1, MPI_INT, (rank + 1) % size, lap, MPI_COMM_WORLD);
        if (!rank) MPI_Recv(&token, 1, MPI_INT, size - 1, lap, MPI_COMM_WORLD, (void *)1);
    }
    for (int i = 0; i < LENGTH; i++) own[i] = i * (rank + 1);
    MPI_Reduce(own, sum, LENGTH, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
    for (int i = 0; i < LENGTH; i++) right &= sum[i] == i * size * (size + 1) / 2;
    if (!rank) printf("ranks %d token %d sums %s\n", size, token, right ? "right" : "wrong");
    return MPI_Finalize();
}
