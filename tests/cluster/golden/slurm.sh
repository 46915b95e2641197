#!/bin/sh
#SBATCH --job-name=gpt-20261121T120000-ab12
#SBATCH --partition=gpu
#SBATCH --account=research
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --mem=200G
#SBATCH --time=8:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --output="/scratch/my runs/gpt-20261121T120000-ab12/logs/slurm.log"
#SBATCH --export=WANDB_API_KEY
#SBATCH --constraint="a100&ib"
#SBATCH --comment="to be read"
#SBATCH --requeue

module load cuda/12.8
exec env PYTHONPATH=/home/me/launcher /opt/venv/bin/python -P -m launcher.batch '/scratch/my runs/gpt-20261121T120000-ab12'
